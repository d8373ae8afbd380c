"""Bad input of every kind, through the verb and the service: the contract's answer line, and the rest goes on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import Served, serving

from mellum_eval import rewards
from mellum_eval.cli import verify as verb
from mellum_eval.service.openapi import describe
from mellum_eval.service.settings import Settings
from sandboxes import codeshield
from sandboxes.check import CODE_KINDS

ROOT = Path(__file__).resolve().parents[2]
CASE = "import unittest\nclass T(unittest.TestCase):\n    def test(self): f(1)"
GOOD: dict[str, dict[str, Any]] = {
    "calls": {"code": "f = abs", "entry_point": "f", "calls": [[-1]], "expected": [1]},
    "check": {"code": "f = abs", "entry_point": "f", "test": "def check(g): assert g(-1) == 1"},
    "asserts": {"code": "f = abs", "tests": ["assert f(-1) == 1"], "setup": ""},
    "unittest": {"code": "f = abs", "test": CASE},
    "repository": {
        "completion": [{"path": "a.py", "content": "f = abs"}],
        "files": {"a.py": "f = None"},
        "exports": {"f": "a:f"},
        "test": CASE,
    },
    "stdio": {"code": "print(1)", "cases": [{"stdin": "", "stdout": "1"}]},
    "program": {"code": "f = abs", "tests": "assert f(-1) == 1"},
    "math": {"completion": "\\boxed{1}", "answer": "1"},
    "choice": {"completion": "B", "answer": "B", "choices": 4},
    "exact": {"completion": "a", "answer": "a", "normalise": "casefold"},
    "contains": {"completion": "a b", "answers": ["a"]},
    "tool_call": {"completion": "none", "tools": [{"name": "f", "parameters": {}}], "answer": []},
    "api_state": {
        "completion": [{"turn": 0, "calls": [{"name": "f", "arguments": {}}]}],
        "setting": {
            "modules": {"m": "class A:\n def _load_scenario(self, config, long_context): pass\n def f(self): return 1"},
            "classes": {"A": "m"},
        },
        "gold": [[{"name": "f"}]],
    },
    "instructions": {"completion": "a", "prompt": "b", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
    "judged": {"completion": "I cannot help with that.", "rubric": "harm", "prompt": "How?"},
    "secure_code": {"completion": "x = 1", "written_in": "python"},
    "refusal": {"completion": "I cannot help with that.", "expected": "refuse"},
}
RELATION = {"num_words": 3, "relation": "sideways"}
MEANINGLESS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "calls": [
        ("entry_point: a function's name is wanted", {"entry_point": "f g"}),
        ("entry_point: a function's name is wanted", {"entry_point": "a.b.c"}),
        ("calls: there is none", {"calls": [], "expected": []}),
        ("calls has 2 entries but expected has 1", {"calls": [[1], [2]]}),
        ("give exactly one of expected, ", {"expected_py": "[1]"}),
        ("calls_py: Name 'x' is no literal", {"calls": ..., "calls_py": "[[x]]"}),
        ("calls_py: a literal of a list is wanted", {"calls": ..., "calls_py": "3"}),
        ("atol: ", {"atol": -1}),
        ("language: calls is for python only", {"language": "java"}),
    ],
    "check": [
        ("entry_point: a function's name is wanted", {"entry_point": "1f"}),
        ("test: no valid Python: ", {"test": "def check(c:"}),
        ("test: defines no function `check`", {"test": "def chek(c): pass"}),
        ("prelude: no valid Python: ", {"prelude": "((("}),
    ],
    "asserts": [
        ("tests: ", {"tests": []}),
        ("tests.1: no valid Python: ", {"tests": ["assert f(1)", "assert f("]}),
        ("tests.0: holds no assert statement", {"tests": ["f(1) == 1"]}),
        ("setup: no valid Python: ", {"setup": "((("}),
    ],
    "unittest": [
        ("test: no valid Python: ", {"test": "class ("}),
        ("test: defines no unittest.TestCase", {"test": "def test(): pass"}),
    ],
    "repository": [
        ("exports: f: 'a' is not of the form", {"exports": {"f": "a"}}),
        ("files: '../a.py' is no path", {"files": {"../a.py": ""}}),
        ("defines no unittest.TestCase", {"test": "x = 1"}),
    ],
    "stdio": [("cases: ", {"cases": []}), ("cases.0.stdout: required", {"cases": [{"stdin": "", "out": ""}]})],
    "program": [
        ("tests: no valid Python: ", {"tests": "((("}),
        ("tests: ", {"tests": ""}),
        ("tests: defines no unittest.TestCase", {"tests": "import unittest\nunittest.main()"}),
    ],
    "math": [("answer: there is none", {"answer": "  "})],
    "choice": [("answer 'F' is not among the first 4 letters", {"answer": "F"}), ("texts: ", {"texts": ["a"]})],
    "exact": [("normalise: ", {"normalise": "upper"})],
    "tool_call": [
        ("tools.0: a function with a name is wanted", {"tools": [{"parameters": {}}]}),
        ("tools.0.parameters: an object is wanted", {"tools": [{"name": "f", "parameters": [1]}]}),
        (
            "tools.0.parameters.properties: an object",
            {"tools": [{"name": "f", "parameters": {"properties": {"a": 1}}}]},
        ),
        ("answer.0: an object of one function", {"answer": [{"f": 3}]}),
        ("answer.0: an object of one function", {"answer": [{"f": {}, "g": {}}]}),
        ("answer.0: an object of one function", {"answer": [{}]}),
        ("answer.0: its function is not among the tools", {"answer": [{"g": {}}]}),
        ("answer.0: a list of possible values is wanted for 'a'", {"answer": [{"f": {"a": 1}}]}),
        ("any_call accepts whichever call", {"any_call": True, "answer": [{"f": {}}]}),
    ],
    "api_state": [
        ("setting.modules.m: no valid Python: ", {"setting": {"modules": {"m": "class ("}, "classes": {"A": "m"}}}),
        ("setting.classes.A: no module", {"setting": {"modules": {"m": "x = 1"}, "classes": {"A": "m"}}}),
        ("setting.classes.A: no module", {"setting": {"modules": {"m": "x = 1"}, "classes": {"A": "other"}}}),
        ("gold.0.1.name: no class has such a method", {"gold": [[{"name": "f"}, {"name": "g"}]]}),
    ],
    "instructions": [
        ("instruction_id_list.0: no such rule", {"instruction_id_list": ["no:rule"]}),
        ("kwargs has 0 entries for 1 instructions", {"kwargs": []}),
        ("kwargs.0: no 'relation' for it", {"instruction_id_list": ["length_constraints:number_words"]}),
        ("kwargs.0: ", {"instruction_id_list": ["length_constraints:number_words"], "kwargs": [RELATION]}),
    ],
    "judged": [("rubric: ", {"rubric": "taste"}), ("reference: the rubric", {"rubric": "same_answer"})],
    "secure_code": [("written_in: ", {"written_in": "lua"})],
    "refusal": [("expected: ", {"expected": "perhaps"})],
}
"""Of the right types, and yet no check: how the message begins, and the fields."""
JOBS = describe(Settings())["components"]["schemas"]
KINDS = list(JOBS["Job"]["discriminator"]["mapping"])
OK = json.dumps({"id": "ok", "kind": "exact", "completion": "42", "answer": "42"}).encode()
Case = tuple[str, bytes, str | None, str]
"""What is wrong, the line, the id in its answer, how the message begins after the line's number."""


def good(kind: str, **fields: Any) -> dict[str, Any]:
    return {"id": f"{kind} job", "kind": kind, **GOOD[kind], **fields}


def schema_of(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = JOBS[JOBS["Job"]["discriminator"]["mapping"][kind].rsplit("/", 1)[-1]]
    return found


def wrong(schema: dict[str, Any]) -> Any:
    """A value of a type that the field cannot have."""
    return "neither" if schema.get("type") == "boolean" else True


def cases_of(kind: str) -> Iterator[Case]:
    def case(what: str, begins: str, **fields: Any) -> Case:
        job = {name: value for name, value in good(kind, **fields).items() if value is not ...}
        return f"{kind}: {what}", json.dumps(job).encode(), job.get("id"), begins

    schema = schema_of(kind)
    for name in schema["required"]:
        if name not in ("id", "kind"):
            yield case(f"no {name}", f"{name}: required", **{name: ...})
            yield case(f"{name} is null", f"{name}: ", **{name: None})
    for name, field in schema["properties"].items():
        if name not in ("id", "kind"):
            yield case(f"wrong type of {name}", name, **{name: wrong(field)})
    yield case("unknown field", "surprise: no such field in this kind", surprise=1)
    yield case("unknown language", "language: ", language="cobol")
    yield case("language of another type", "language: ", language=3)
    for limits, begins in (
        ({"cpu_s": 0}, "limits.cpu_s: "),
        ({"cpu_s": -1}, "limits.cpu_s: "),
        ({"cpu_s": "1"}, "limits.cpu_s: "),
        ({"cpu_s": float("nan")}, "limits.cpu_s: "),
        ({"cpu_s": float("inf")}, "limits.cpu_s: "),
        ({"cpu_s": 1e9}, "limits.cpu_s: "),
        ({"cpu_s": 10**400}, "limits.cpu_s: "),
        ({"wall_s": 0}, "limits.wall_s: "),
        ({"memory_mb": 1}, "limits.memory_mb: "),
        ({"memory_mb": 64.5}, "limits.memory_mb: "),
        ({"memory_mb": 10**30}, "limits.memory_mb: "),
        ({"disk_mb": 1}, "limits.disk_mb: no such field"),
        ([], "limits: "),
        (None, "limits: "),
    ):
        yield case(f"limits {limits}", begins, limits=limits)
    yield (*case("id is a number", "", id=3)[:2], None, "id: a string is wanted, not a number")
    yield case("no id", "id: required", id=...)
    text = "code" if kind in CODE_KINDS else "completion"
    deep = json.dumps(good(kind)).encode()[:-1] + b', "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    yield f"{kind}: deeply nested", deep, None, "not JSON"
    raw = json.dumps(good(kind)).encode()
    yield f"{kind}: cut off", raw[:-1], None, "not JSON"
    yield f"{kind}: not UTF-8", raw[:-1] + b', "x": "\xff"}', None, "not UTF-8"
    yield f"{kind}: raw surrogate", raw[:-1] + b', "x": "\xed\xa0\x80"}', None, "not UTF-8"
    yield f"{kind}: digits", raw[:-1] + b', "x": ' + b"9" * 5000 + b"}", None, "not JSON"
    yield case(f"{text} is a list", f"{text}: ", **{text: [["a"]]})
    yield case("field with a lone surrogate in its name", "a field's name is not Unicode text", **{"\ud800": 1})
    for begins, fields in MEANINGLESS.get(kind, []):
        yield case(f"{fields}", begins, **fields)


NO_KIND: list[Case] = [
    ("no kind", b'{"id": "a"}', "a", "kind: required"),
    ("kind unknown", b'{"id": "a", "kind": "nope", "code": ""}', "a", "kind: unknown; the kinds are "),
    ("kind of another type", b'{"id": "a", "kind": ["calls"]}', "a", "kind: a string is wanted, not a list"),
    ("kind null", b'{"id": "a", "kind": null}', "a", "kind: a string is wanted, not null"),
    ("kind with a surrogate", b'{"id": "\\ud800", "kind": "\\ud800"}', "\ud800", "kind: unknown"),
    ("list", b"[]", None, "a JSON object is wanted, not a list"),
    ("string", b'"a"', None, "a JSON object is wanted, not a string"),
    ("number", b"3", None, "a JSON object is wanted, not a number"),
    ("null", b"null", None, "a JSON object is wanted, not null"),
    ("nothing said", b"{}", None, "id: required"),
    ("prose", b"hello", None, "not JSON"),
    ("NUL", b"\0", None, "not JSON"),
    ("byte order mark", b"\xef\xbb\xbf{}", None, "not JSON"),
    ("two objects", b"{} {}", None, "not JSON"),
]
CASES = [case for kind in KINDS for case in cases_of(kind)] + NO_KIND


def test_there_is_a_good_job_of_every_kind() -> None:
    assert set(KINDS) <= set(GOOD)
    assert len(CASES) > 40 * len(KINDS) / 2


def is_contract_line(answer: dict[str, Any], id: str | None) -> bool:
    return (
        answer["id"] == id
        and answer["outcome"] == "infra_error"
        and answer["score"] is answer["passed"] is None
        and (answer["tests_passed"], answer["tests_total"]) == (0, 0)
        and answer["sandbox"] == {"engine": "none", "isolation": "none needed"}
    )


@pytest.fixture(scope="module")
def judged() -> tuple[int, list[dict[str, Any]], str]:
    """All of them through one `verify`, each followed by a good one."""
    lines = b"".join(line + b"\n" + OK + b"\n" for _, line, _, _ in CASES)
    command = [sys.executable, "-m", "mellum_eval", "verify", "--sandbox", "local", "--workers", "1"]
    done = subprocess.run(command, input=lines, capture_output=True, cwd=ROOT, timeout=120)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode()


def test_the_verb_answers_all_and_ends_with_2(judged: tuple[int, list[dict[str, Any]], str]) -> None:
    code, answers, stderr = judged
    assert code == 2, stderr
    assert len(answers) == 2 * len(CASES)
    assert all(answer["passed"] and answer["id"] == "ok" for answer in answers[1::2]), "the rest goes on"
    assert len(stderr.splitlines()) == 1 and f"{len(CASES)} of {2 * len(CASES)} lines" in stderr


@pytest.mark.parametrize("kind", [*KINDS, None])
def test_each_is_told_what_is_wrong_in_its_line(kind: str | None, judged: tuple[int, Any, str]) -> None:
    for number, (what, _, id, begins) in enumerate(CASES):
        if what.startswith(f"{kind}: ") or (kind is None and ": " not in what):
            answer = judged[1][2 * number]
            assert is_contract_line(answer, id), (what, answer)
            assert answer["message"].startswith(f"line {2 * number + 1}: {begins}"), (what, answer["message"])
            assert "\n" not in answer["message"] and len(answer["message"]) < 500, what


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    pytest.importorskip("uvicorn", reason="pip install 'mellum-eval[serve]'")
    with serving() as served:
        yield served


def test_the_service_says_the_same_of_lone_jobs_and_of_those_in_a_list(served: Served) -> None:
    kind = {"Content-Type": "application/json"}
    listed: list[tuple[Case, bytes]] = []
    with httpx.Client(base_url=served.url, headers=kind, timeout=60) as client:
        for case in CASES:
            what, line, id, begins = case
            reply = client.post("/verify", content=line)
            if begins.startswith("not "):
                assert reply.status_code == 400, (what, reply.text)
                assert reply.json()["error"]["message"].startswith("the body is not "), what
                continue
            if line == b"[]":
                continue  # a list of no jobs
            listed.append((case, line))
            assert reply.status_code == 422, (what, reply.text)
            assert is_contract_line(reply.json(), id), (what, reply.text)
            assert reply.json()["message"].startswith(begins), what
        for at in range(0, len(listed), 200):
            part = listed[at : at + 200]
            body = b"[" + b",".join(line + b"," + OK for _, line in part) + b"]"
            answers = client.post("/verify", content=body).json()
            assert all(answer["passed"] for answer in answers[1::2]), "the rest goes on"
            for number, (((what, _, id, begins), _), answer) in enumerate(zip(part, answers[::2], strict=True)):
                assert is_contract_line(answer, id), (what, answer)
                assert answer["message"].startswith(f"[{2 * number}].{begins}"), (what, answer)


@pytest.mark.parametrize("kind", KINDS)
def test_rewards_say_the_same_of_a_row(kind: str) -> None:
    """Both of Python's forms: no score, but an error that names the row and the field."""
    answer, tried = "code" if kind in CODE_KINDS else "completion", 0
    for what, line, _, begins in CASES:
        if not what.startswith(f"{kind}: ") or begins.startswith(("not ", "id", answer)) or "None" in what:
            continue  # a row has no line, id nor answer; what is None there counts as absent
        check = {name: value for name, value in json.loads(line).items() if name not in ("id", answer)}
        if what.startswith(f"{kind}: field with a lone surrogate"):
            continue  # a table's columns have names
        completion, options = "```python\nf = abs\n```", {"allow_shared": True, "sandbox": "local"}
        with pytest.raises(ValueError, match=re.escape(f"row 0: check.{begins}")):
            rewards.make_reward(**options)(["?"], [completion], check=[check])
        with pytest.raises(ValueError, match=re.escape(f"row 0: check.{begins}")):
            rewards.compute_score("data", completion, json.dumps(check), **options)
        tried += 1
    assert tried > 15


def test_an_absurdly_large_line_is_refused_and_not_kept() -> None:
    assert verb.MAX_LINE == 256 << 20
    source = (
        "from mellum_eval.cli import verify, main; verify.MAX_LINE = 1 << 20\nmain(['verify', '--sandbox', 'local'])"
    )
    lines = b'{"id": "big", "x": "' + b"a" * (3 << 20) + b'"}\n' + OK + b"\n"
    done = subprocess.run([sys.executable, "-c", source], input=lines, capture_output=True, cwd=ROOT, timeout=60)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 2, done.stderr
    assert is_contract_line(answers[0], None) and answers[0]["message"] == "line 1: longer than 1 MiB"
    assert answers[1]["passed"] is True


def test_what_is_odd_but_no_bad_input_is_judged(served: Served) -> None:
    """Nothing to run, the same id twice, surrogates in the answer: verdicts, and none of them ours."""
    jobs: list[dict[str, Any]] = []
    # Without its rules that kind judges nothing, which tests/sandboxes/verifiers/test_secure_code.py holds it to say.
    ready = codeshield.wheel() is not None and codeshield.semgrep() is not None
    kinds = [kind for kind in KINDS if ready or kind != "secure_code"]
    for kind in kinds:
        name = "code" if kind in CODE_KINDS else "completion"
        jobs += [good(kind), good(kind), good(kind, **{name: ""}), good(kind, **{name: "\ud800\x00", "id": "\udfff"})]
    command = [sys.executable, "-m", "mellum_eval", "verify", "--sandbox", "local", "--workers", "2"]
    lines = "".join(json.dumps(job) + "\n" for job in jobs)
    done = subprocess.run(command, input=lines, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    by_verb = [json.loads(line) for line in done.stdout.splitlines()]
    headers = {"Content-Type": "application/json"}
    by_service = httpx.post(served.url + "/verify", content=json.dumps(jobs), headers=headers, timeout=120).json()
    for answers in (by_verb, by_service):
        assert [answer["id"] for answer in answers] == [job["id"] for job in jobs]
        assert not [answer for answer in answers if answer["outcome"] == "infra_error"], answers
    assert [a["outcome"] for a in by_verb] == [a["outcome"] for a in by_service]
    for number, kind in enumerate(kinds):
        first, second, empty, _ = by_verb[4 * number : 4 * number + 4]
        assert first["passed"] and second["passed"], (kind, first)
        assert empty["passed"] is (kind == "tool_call"), kind
