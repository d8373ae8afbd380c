"""The service as clients meet it: verdicts, SandboxFusion's form, who is let in, how much, and how it ends."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import ROOT, Served, serve_and_end, serving

pytest.importorskip("uvicorn", reason="pip install 'mellum-eval[serve]'")

SQUARE = {"kind": "calls", "entry_point": "f", "calls": [[3], [4]], "expected": [9, 16]}
RIGHT = {"id": "right", **SQUARE, "code": "def f(x): return x * x"}
WRONG = {"id": "wrong", **SQUARE, "code": "def f(x): return 9"}
SLEEPER = {"id": "slow", **SQUARE, "code": "import time\ndef f(x): time.sleep(1000)"}
TOKEN = "a-token-for-tests"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving() as served:
        yield served


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=60) as client:
        yield client


def run_code(client: httpx.Client, code: str, **fields: Any) -> dict[str, Any]:
    reply = client.post("/run_code", json={"code": code, "language": "python", **fields})
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


# -- /verify -------------------------------------------------------------------------------------------------------


def test_one_job_gets_one_verdict(client: httpx.Client) -> None:
    answer = client.post("/verify", json=RIGHT).json()
    assert (answer["id"], answer["outcome"], answer["score"], answer["passed"]) == ("right", "passed", 1.0, True)
    assert answer["sandbox"] == {"engine": "local", "isolation": "split"}


def test_a_list_gets_a_list_in_order(client: httpx.Client) -> None:
    letter = {"id": "letter", "kind": "choice", "answer": "B", "choices": 4, "completion": "The answer is B."}
    answers = client.post("/verify", json=[WRONG, RIGHT, letter]).json()
    assert [(a["id"], a["score"]) for a in answers] == [("wrong", 0.5), ("right", 1.0), ("letter", 1.0)]
    assert client.post("/verify", json=[]).json() == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "id"),
        ({**RIGHT, "id": 3}, "id"),
        ({**RIGHT, "kind": "nonsense"}, "kind"),
        ({**RIGHT, "calls": 3}, "calls"),
        ({**RIGHT, "limits": {"cpu_s": 1000}}, "limits.cpu_s"),
        ({**RIGHT, "limits": {"memory_mb": 65536}}, "limits.memory_mb"),
        (3, "a JSON object is wanted"),
    ],
)
def test_what_is_no_job_is_422_with_an_answer_line_that_names_the_field(
    client: httpx.Client, body: Any, field: str
) -> None:
    reply = client.post("/verify", json=body)
    assert reply.status_code == 422
    answer = reply.json()
    assert (answer["outcome"], answer["score"], answer["passed"]) == ("infra_error", None, None)
    assert answer["id"] == (body.get("id") if isinstance(body, dict) and body.get("id") != 3 else None)
    assert answer["message"].startswith(field)


def test_in_a_list_the_rest_goes_on(client: httpx.Client) -> None:
    reply = client.post("/verify", json=[RIGHT, {**RIGHT, "code": None}, {**RIGHT, "limits": {"cpu_s": -1}}, WRONG])
    assert reply.status_code == 200
    assert [answer["score"] for answer in reply.json()] == [1.0, None, None, 0.5]
    assert [answer["message"].partition(": ")[0] for answer in reply.json()[1:3]] == ["[1].code", "[2].limits.cpu_s"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"id": "\xed\xa0\x80"}'])
def test_what_is_no_json_is_400(client: httpx.Client, body: bytes) -> None:
    reply = client.post("/verify", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    assert "body is not" in reply.json()["error"]["message"]


def test_hostile_text_comes_back_escaped(client: httpx.Client) -> None:
    job = {**RIGHT, "id": "\u202e\x1b[2J", "code": "def f(x): raise ValueError('\\x1b[2J\\udc80')"}
    reply = client.post("/verify", json=job)
    assert reply.status_code == 200
    assert reply.content.isascii() and b"\x1b" not in reply.content
    assert reply.json()["id"] == job["id"]


# -- /run_code -----------------------------------------------------------------------------------------------------


def test_a_program_is_run_as_sandboxfusion_runs_it(client: httpx.Client) -> None:
    answer = run_code(client, "print(input().upper())", stdin="abc\n")
    result = answer["run_result"]
    assert (answer["status"], answer["message"], answer["compile_result"]) == ("Success", "", None)
    assert (result["status"], result["return_code"], result["stdout"], result["stderr"]) == ("Finished", 0, "ABC\n", "")
    assert result["execution_time"] > 0
    assert set(answer) == {"status", "message", "compile_result", "run_result", "executor_pod_name", "files"}


@pytest.mark.parametrize(
    ("code", "status", "return_code", "stderr"),
    [
        ("import sys; print('out'); sys.exit(3)", "Finished", 3, ""),
        ("1 / 0", "Finished", 1, "ZeroDivisionError"),
        ("def f(:", "Finished", 1, "SyntaxError"),
        ("import os; os.abort()", "Finished", -6, ""),
        ("while True: pass", "TimeLimitExceeded", None, ""),
        ("import time; time.sleep(60)", "TimeLimitExceeded", None, ""),
        ("x = bytearray(1 << 30)", "Finished", None, "memory"),
        ("while True: print('x' * 10 ** 6)", "Finished", -9, "caps"),
    ],
)
def test_a_programs_failure_is_failed_and_not_ours(
    client: httpx.Client, code: str, status: str, return_code: int | None, stderr: str
) -> None:
    started = time.monotonic()
    answer = run_code(client, code, run_timeout=1, memory_limit_MB=128)
    assert (answer["status"], answer["run_result"]["status"]) == ("Failed", status)
    assert time.monotonic() - started < 30
    if return_code is not None or status == "TimeLimitExceeded":
        assert answer["run_result"]["return_code"] == return_code
    assert stderr.lower() in answer["run_result"]["stderr"].lower()


def test_files_go_in_and_come_out(client: httpx.Client) -> None:
    code = """
import sys
assert __name__ == "__main__"
open("out/b.bin", "wb").write(open("in/a.txt", "rb").read()[::-1])
print("done", len(open("empty").read()), file=sys.stderr)
print("stdout")
sys.exit(4)
"""
    files = {"in/a.txt": base64.b64encode(b"abc\0").decode(), "out/here": "", "empty": None}
    answer = run_code(client, code, files=files, fetch_files=["out/b.bin", "missing"])
    assert answer["files"] == {"out/b.bin": base64.b64encode(b"\0cba").decode()}
    result = answer["run_result"]
    assert (result["return_code"], result["stdout"], result["stderr"]) == (4, "stdout\n", "done 0\n")
    killed = run_code(client, "import os; os.kill(os.getpid(), 9)", fetch_files=["x"])
    assert (killed["run_result"]["return_code"], killed["files"]) == (-9, {})


def test_other_languages_are_run_where_their_tools_are(client: httpx.Client) -> None:
    answer = run_code(client, "read x; echo $((x * x)); exit $((x - 3))", stdin="3\n", language="bash")
    assert (answer["status"], answer["run_result"]["stdout"], answer["compile_result"]) == ("Success", "9\n", None)
    failed = run_code(client, "echo out; exit 3", language="bash")
    assert (failed["status"], failed["run_result"]["return_code"]) == ("Failed", 3)
    slow = run_code(client, "while true; do :; done", language="bash", run_timeout=1)
    assert (slow["status"], slow["run_result"]["status"]) == ("Failed", "TimeLimitExceeded")
    source = "#include <iostream>\nint main() { int x; std::cin >> x; std::cout << x * x; }"
    right = run_code(client, source, stdin="3", language="cpp")
    if right["status"] == "SandboxError":  # no compiler here
        assert "C++" in right["message"] or "g++" in right["message"]
        return
    assert (right["status"], right["run_result"]["stdout"]) == ("Success", "9")
    assert right["compile_result"]["return_code"] == 0
    wrong = run_code(client, source.replace("int x", "int y"), language="cpp")
    assert (wrong["status"], wrong["run_result"], wrong["compile_result"]["status"]) == ("Failed", None, "Finished")
    assert wrong["compile_result"]["return_code"] != 0 and "error" in wrong["compile_result"]["stderr"]


def test_files_are_for_python_alone(client: httpx.Client) -> None:
    body = {"code": "cat a", "language": "bash", "files": {"a": ""}}
    refused = client.post("/run_code", json=body)
    assert refused.status_code == 422 and "python alone" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"language": "cobol"}, "language"),
        ({"language": "kotlin_script"}, "language"),
        ({"code": None}, "code"),
        ({"run_timeout": 0}, "run_timeout"),
        ({"run_timeout": 3000}, "run_timeout"),
        ({"memory_limit_MB": 60000}, "memory_limit_MB"),
        ({"files": {"a": "?"}}, "files"),
    ],
)
def test_what_cannot_be_run_is_422_and_names_the_field(client: httpx.Client, fields: Any, field: str) -> None:
    reply = client.post("/run_code", json={"code": "1", "language": "python", **fields})
    assert reply.status_code == 422
    assert reply.json()["error"]["field"] == field


def test_verls_sandbox_fusion_client_gets_what_it_reads(served: Served) -> None:
    """The request that verl's client sends, header for header, and what it makes of the replies."""
    payload = {"compile_timeout": 10, "run_timeout": 2, "stdin": "3\n", "language": "python"}
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    read = {}
    programs = {
        "right": "print(int(input()) ** 2)",
        "wrong": "print(4)",
        "crash": "raise SystemExit(1)",
        "slow": "while True: pass",
    }
    for name, code in programs.items():
        body = json.dumps({**payload, "code": code, "memory_limit_MB": 1024, "files": {}, "fetch_files": []})
        reply = httpx.post(f"{served.url}/run_code", content=body, headers=headers, timeout=22)
        reply.raise_for_status()
        answer = reply.json()
        run, status = answer.get("run_result"), answer.get("status")
        if status == "Success" and run["status"] == "Finished":
            read[name] = run["stdout"].rstrip("\n") == "9"
        else:
            assert status == "Failed" and not answer.get("compile_result")
            read[name] = run["status"] if run["status"] == "TimeLimitExceeded" else run["return_code"]
    assert read == {"right": True, "wrong": False, "crash": 1, "slow": "TimeLimitExceeded"}


# -- who and how much ----------------------------------------------------------------------------------------------


def test_health_and_description_need_no_token(client: httpx.Client) -> None:
    health = client.get("/health")
    assert (health.status_code, health.json()["status"], health.json()["engine"]) == (200, "ok", "local")
    assert client.get("/openapi.json").json()["openapi"].startswith("3.1")


def test_other_paths_and_methods_are_json_errors(client: httpx.Client) -> None:
    assert client.get("/nothing").status_code == 404
    wrong = client.get("/verify")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert "error" in wrong.json()


def test_a_web_page_cannot_post_here(client: httpx.Client) -> None:
    simple = client.post("/verify", content=json.dumps(RIGHT), headers={"Content-Type": "text/plain"})
    assert simple.status_code == 415
    rebound = client.post("/verify", json=RIGHT, headers={"Host": "evil.example:8080"})
    assert rebound.status_code == 403
    for host in ("localhost", "127.0.0.1:99", "[::1]:8080", "[::1]"):
        assert client.post("/verify", json=[], headers={"Host": host}).status_code == 200


def test_with_a_token_nobody_else_is_served(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    with serving("--token-file", str(file), "--host", "0.0.0.0") as served:
        url = served.url.replace("0.0.0.0", "127.0.0.1")
        for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": f"Bearer {TOKEN}x"}):
            for path in ("/verify", "/run_code"):
                refused = httpx.post(url + path, json=RIGHT, headers=headers)
                assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        right = {"Authorization": f"Bearer {TOKEN}", "Host": "rewards.example"}
        assert httpx.post(url + "/verify", json=RIGHT, headers=right).json()["passed"]
        # verl's client knows a URL and no headers.
        with_token = url.replace("http://", f"http://any:{TOKEN}@")
        answer = httpx.post(with_token + "/run_code", json={"code": "print(1)", "language": "python"}).json()
        assert answer["status"] == "Success"
        assert httpx.get(url + "/health").status_code == 200
        assert TOKEN not in "".join(served.said)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org", "10.0.0.1"])
def test_off_loopback_without_a_token_it_refuses_to_start(host: str) -> None:
    done = serve_and_end("--host", host)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.strip().splitlines()) == 1
    assert "token is required" in done.stderr and "MELLUM_TOKEN" in done.stderr


def test_other_bad_usage_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, said in (
            (("--token-file", str(tmp_path / "none")), "No such file"),
            (("--token-file", str(tmp_path / "empty")), "a token is at least"),
            (("--port", port), f"127.0.0.1:{port}: Address already in use"),
        ):
            done = serve_and_end(*arguments)
            assert done.returncode == 2, done.stderr
            assert said in done.stderr and len(done.stderr.strip().splitlines()) == 1
    done = serve_and_end("--host", "0.0.0.0", MELLUM_TOKEN="")
    assert (done.returncode, "MELLUM_TOKEN" in done.stderr) == (2, True)


def test_a_missing_extra_is_named() -> None:
    source = (
        "import sys; sys.modules['uvicorn'] = None\nfrom mellum_eval.cli import main; main(['serve', '--port', '0'])"
    )
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert done.stderr == "mellum-eval: uvicorn is not installed; pip install 'mellum-eval[serve]'\n"


def test_long_bodies_are_refused_before_they_are_read() -> None:
    with serving("--max-body-mb", "1", "--queue", "2") as served:
        big = json.dumps({**RIGHT, "code": "#" * (2 << 20)}).encode()
        kind = {"Content-Type": "application/json"}
        assert httpx.post(served.url + "/verify", content=big, headers=kind).status_code == 413
        pieces = (big[at : at + 65536] for at in range(0, len(big), 65536))  # chunked: no length is announced
        with contextlib.suppress(httpx.TransportError):  # it may close while we still send
            assert httpx.post(served.url + "/verify", content=pieces, headers=kind).status_code == 413
        many = httpx.post(served.url + "/verify", json=[RIGHT] * 3)
        assert many.status_code == 413 and "at most 2" in many.json()["error"]["message"]
        assert httpx.post(served.url + "/verify", json=RIGHT).json()["passed"]


def until(url: str, jobs: int) -> None:
    deadline = time.monotonic() + 30
    while httpx.get(url + "/health", timeout=30).json()["jobs"] != jobs:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_full_queue_says_when_to_come_again_and_a_client_that_left_frees_it() -> None:
    with serving("--queue", "2") as served:
        connections = []
        for _ in range(2):
            body = json.dumps({**SLEEPER, "limits": {"cpu_s": 1}}).encode()
            connection = socket.create_connection(("127.0.0.1", int(served.url.rsplit(":", 1)[1])))
            connection.sendall(
                b"POST /verify HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body) + body
            )
            connections.append(connection)
        until(served.url, 2)
        full = httpx.post(served.url + "/verify", json=RIGHT)
        assert (full.status_code, full.headers["retry-after"]) == (429, "1")
        # The one status that verl's client takes for a reason to try again.
        full = httpx.post(served.url + "/run_code", json={"code": "1", "language": "python"})
        assert (full.status_code, full.headers["retry-after"]) == (504, "1")
        for connection in connections:
            connection.close()
        until(served.url, 0)  # long before the sleepers' own end
        assert httpx.post(served.url + "/verify", json=RIGHT, timeout=30).json()["passed"]


# -- the end -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_lets_running_jobs_end(number: int, status: int) -> None:
    with serving() as served:
        got: list[httpx.Response] = []
        job = {**RIGHT, "code": "import time\ndef f(x):\n    time.sleep(1)\n    return x * x"}
        thread = threading.Thread(target=lambda: got.append(httpx.post(served.url + "/verify", json=job, timeout=60)))
        thread.start()
        until(served.url, 1)
        assert served.stop(number) == status
        thread.join()
        assert got[0].json()["passed"] is True
        with pytest.raises(httpx.TransportError):
            httpx.get(served.url + "/health")
        assert len(served.said) == (1 if status == 0 else 2), served.said


def test_jobs_that_do_not_end_are_cut_off_and_told_so() -> None:
    with serving("--drain-s", "1") as served:
        got: list[httpx.Response] = []
        thread = threading.Thread(
            target=lambda: got.append(httpx.post(served.url + "/verify", json=SLEEPER, timeout=60))
        )
        thread.start()
        until(served.url, 1)
        started = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - started < 20
        thread.join(10)
        assert (got[0].status_code, got[0].headers["retry-after"]) == (503, "5")
        assert "Traceback" not in "".join(served.said)
