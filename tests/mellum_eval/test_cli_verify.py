"""`mellum-eval verify` as a process: order, exit codes, streaming, and strings that nobody should print."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERIFY = [sys.executable, "-m", "mellum_eval", "verify", "--sandbox", "local", "--workers", "2"]


def job(id: str, code: str = "def f(x): return x", **fields: Any) -> str:
    base = {"id": id, "kind": "calls", "code": code, "entry_point": "f", "calls": [[1]], "expected": [1]}
    return json.dumps(base | fields)


def verify(lines: list[str], *options: str) -> tuple[int, list[dict[str, Any]], str]:
    done = subprocess.run(
        [*VERIFY, *options], input="\n".join(lines), capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_answers_come_in_order_whatever_takes_longer() -> None:
    slow = "def f(x):\n    for _ in range(3_000_000): pass\n    return x"
    lines = [job(str(n), slow if n % 7 == 0 else "def f(x): return x") for n in range(30)]
    code, answers, stderr = verify(lines)
    assert code == 0, stderr
    assert [a["id"] for a in answers] == [str(n) for n in range(30)]
    assert all(a["passed"] and a["score"] == 1.0 and a["outcome"] == "passed" for a in answers)
    assert set(answers[0]) == {
        *("id", "outcome", "score", "passed", "tests_passed", "tests_total", "message", "cpu_s", "wall_s", "sandbox")
    }
    assert answers[0]["sandbox"] == {"engine": "local", "isolation": "split"}


def test_malformed_lines_are_answered_and_the_rest_goes_on() -> None:
    lines = [job("a"), "nonsense", json.dumps({"id": "b", "kind": "nope"}), "", job("c", calls=[1]), job("d")]
    code, answers, stderr = verify(lines)
    assert code == 2
    assert [a["id"] for a in answers] == ["a", None, "b", "c", "d"]
    assert [a["outcome"] for a in answers] == ["passed", "infra_error", "infra_error", "infra_error", "passed"]
    assert [a["score"] for a in answers] == [1.0, None, None, None, 1.0]
    assert "line 2: not JSON" in answers[1]["message"]
    assert "line 3: kind" in answers[2]["message"]
    assert "line 5: calls.0" in answers[3]["message"]
    assert len(stderr.strip().splitlines()) == 1
    assert "line 2" in stderr
    assert "Traceback" not in stderr


def test_too_many_that_could_not_be_judged_is_exit_1() -> None:
    broken = {"id": "b", "kind": "check", "code": "f = 1", "entry_point": "f", "test": "1 / 0\ndef check(f): f(1)"}
    lines = [job("a"), json.dumps(broken)]
    assert verify(lines)[0] == 1
    assert verify(lines, "--max-infra-rate", "0.5")[0] == 0


def test_hostile_strings_stay_escapes() -> None:
    nasty = "def f(x): raise ValueError('\\ud800 \\x1b[2J \\u202e \\x00 </script>')"
    code, answers, _ = verify([job("\ud800\x1b[31m", nasty)])
    assert code == 0
    assert answers[0]["id"] == "\ud800\x1b[31m"
    assert "\x1b" not in answers[0]["message"]
    raw = subprocess.run(VERIFY, input=job("\ud800\x1b", nasty), capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert raw.stdout.isascii()
    assert "\x1b" not in raw.stdout


def test_text_kinds_need_no_sandbox() -> None:
    line = json.dumps({"id": "a", "kind": "exact", "completion": "42", "answer": "42"})
    code, answers, _ = verify([line], "--sandbox", "docker")
    assert code == 0
    assert answers[0]["sandbox"] == {"engine": "none", "isolation": "none needed"}


def test_nothing_in_nothing_out() -> None:
    assert verify([]) == (0, [], "")


@pytest.mark.parametrize("options", [("--workers", "0"), ("--sandbox", "vm"), ("--max-infra-rate", "2"), ("--nope",)])
def test_bad_usage(options: tuple[str, ...]) -> None:
    code, answers, stderr = verify([], *options)
    assert code == 2
    assert answers == []
    assert len(stderr.splitlines()) == 1


def test_each_answer_comes_before_the_next_question() -> None:
    process = subprocess.Popen(VERIFY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdin is not None and process.stdout is not None
    for n in range(3):
        process.stdin.write(job(str(n)) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == str(n)
    process.stdin.close()
    assert process.wait(60) == 0


def test_an_endless_pipe_is_not_read_ahead() -> None:
    process = subprocess.Popen(VERIFY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdin is not None and process.stdout is not None
    stuck = "def f(x):\n    while True: pass"
    os.set_blocking(process.stdin.fileno(), False)
    first = job("stuck", stuck, limits={"cpu_s": 30}).encode() + b"\n"
    process.stdin.write(first)
    process.stdin.flush()
    line = job("next", "#" * 50_000 + "\ndef f(x): return x").encode() + b"\n"
    taken, quiet = 0, time.monotonic()
    rest = b""
    while time.monotonic() - quiet < 4:
        rest = rest or line
        try:
            sent = os.write(process.stdin.fileno(), rest)
            rest, taken, quiet = rest[sent:], taken + sent, time.monotonic()
        except BlockingIOError:
            time.sleep(0.05)
    process.kill()
    process.wait(30)
    assert taken < 60 * len(line), "it must stop reading while it waits for the first verdict"


@pytest.mark.parametrize("busy", [False, True])
def test_interrupted(busy: bool) -> None:
    process = subprocess.Popen(VERIFY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdin.write(job("a").encode() + b"\n")
    process.stdin.flush()
    process.stdout.readline()
    if busy:
        process.stdin.write(job("b", "def f(x):\n    while True: pass").encode() + b"\n")
        process.stdin.flush()
        time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert b"Traceback" not in process.stderr.read()


def test_a_reader_that_went_away_is_no_drama() -> None:
    process = subprocess.Popen(VERIFY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdout.close()
    process.stdin.write("\n".join(job(str(n)) for n in range(5)).encode())
    process.stdin.close()
    process.wait(60)
    assert process.stderr.read() == b""
