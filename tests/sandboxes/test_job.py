"""Lines of contract 3 become jobs, or one line that names the field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandboxes.job import JobError, parse_job, parse_line

CALLS: dict[str, Any] = {"id": "a", "kind": "calls", "code": "x", "entry_point": "f", "calls": [[1]], "expected": [1]}


def without(name: str, **more: Any) -> dict[str, Any]:
    return {k: v for k, v in CALLS.items() if k != name} | more


@pytest.mark.parametrize(
    "fields",
    [
        CALLS,
        CALLS | {"language": "python", "limits": {"cpu_s": 1, "memory_mb": 64}},
        without("calls", calls_py="[[inf]]"),
        {"id": "", "kind": "check", "code": "", "entry_point": "f", "test": "def check(f): pass"},
        {"id": "a", "kind": "asserts", "code": "", "tests": ["assert True"]},
        {"id": "a", "kind": "stdio", "code": "", "cases": [{"stdin": "", "stdout": ""}]},
        {"id": "a", "kind": "math", "completion": "", "answer": "1"},
        {"id": "a", "kind": "choice", "completion": "", "answer": "A", "choices": 4},
        {"id": "a", "kind": "tool_call", "completion": [{"name": "f", "arguments": {}}], "tools": [], "answer": []},
        {"id": "a", "kind": "refusal", "completion": "no", "expected": "refuse"},
    ],
)
def test_jobs(fields: dict[str, Any]) -> None:
    job = parse_line(json.dumps(fields).encode())
    assert job.id == fields["id"]
    assert job.check.kind == fields["kind"]
    assert job.answer == fields.get("code", fields.get("completion"))


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ([], "object is wanted, not a list"),
        (None, "not null"),
        (without("id"), "id: required"),
        (CALLS | {"id": 5}, "id: a string is wanted, not a number"),
        (without("kind"), "kind: required"),
        (CALLS | {"kind": "nope"}, "kind: unknown; the kinds are 'calls'"),
        (CALLS | {"kind": ["calls"]}, "kind"),
        (without("code"), "code: required"),
        (CALLS | {"code": 5}, "code: a string is wanted"),
        (CALLS | {"code": [{}]}, "code: a string is wanted, not a list"),
        (without("entry_point"), "entry_point: required"),
        (CALLS | {"entry_point": ""}, "entry_point"),
        (CALLS | {"calls": [1]}, "calls.0"),
        (CALLS | {"calls": {}}, "calls"),
        (CALLS | {"expected": [1, 2]}, "calls has 1 entries but expected has 2"),
        (CALLS | {"expected_py": "[1]"}, "exactly one of expected"),
        (without("expected"), "exactly one of expected"),
        (without("expected", expected_py="[open('x')]"), "expected_py: Call"),
        (without("calls", calls_py="[1"), "calls_py: not a Python literal"),
        (CALLS | {"atol": -1}, "atol"),
        (CALLS | {"atol": "1"}, "atol"),
        (CALLS | {"surplus": 1}, "surplus: no such field"),
        (CALLS | {"language": "cobol"}, "language"),
        (CALLS | {"limits": {"cpu_s": 0}}, "limits.cpu_s"),
        (CALLS | {"limits": {"cpu": 1}}, "limits.cpu: no such field"),
        (CALLS | {"limits": {"memory_mb": "lots"}}, "limits.memory_mb"),
        (CALLS | {"limits": {"cpu_s": True}}, "limits.cpu_s"),
        ({"id": "a", "kind": "stdio", "code": "", "cases": [{"stdin": ""}]}, "cases.0.stdout: required"),
        ({"id": "a", "kind": "stdio", "code": "", "cases": []}, "cases"),
        ({"id": "a", "kind": "asserts", "code": "", "tests": "assert 1"}, "tests"),
        ({"id": "a", "kind": "math", "code": "", "answer": "1"}, "code: no such field"),
        ({"id": "a", "kind": "math", "answer": "1"}, "completion: required"),
        ({"id": "a", "kind": "math", "completion": [{}], "answer": "1"}, "completion: a string is wanted"),
        ({"id": "a", "kind": "choice", "completion": "", "answer": "Z", "choices": 4}, "not among the first 4"),
    ],
)
def test_malformed_jobs_name_the_field(fields: Any, part: str) -> None:
    with pytest.raises(JobError) as caught:
        parse_job(fields)
    assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    if isinstance(fields, dict) and isinstance(fields.get("id"), str):
        assert caught.value.id == fields["id"]


@pytest.mark.parametrize(
    ("line", "part"),
    [(b"", "not JSON"), (b"{", "column"), (b"\xff", "not UTF-8"), (b"[" * 100_000, "JSON"), (b"1" * 5000, "JSON")],
)
def test_malformed_lines(line: bytes, part: str) -> None:
    with pytest.raises(JobError) as caught:
        parse_line(line)
    assert part in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda s: st.lists(s) | st.dictionaries(st.text(), s),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*CALLS, "limits", "calls_py", "atol", "groups", "compare"]), JSON))
def test_no_object_raises_anything_else(fields: dict[str, Any]) -> None:
    for data in (fields, CALLS | fields):
        try:
            parse_job(data)
        except JobError as error:
            assert str(error)
