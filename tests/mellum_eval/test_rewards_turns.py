"""The next attempt is told what the visible tests show, and nothing of the hidden ones."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mellum_eval import rewards
from mellum_eval.rewards import Options, attempt, attempt_async
from mellum_eval.rewards.turns import HIDDEN, visible_part
from sandboxes.check import CHECK
from sandboxes.prepared import prepare
from sandboxes.verdict import Outcome

LOCAL = Options(sandbox="local", workers=2)
MARK = secrets.token_hex(8)
SECRET = "hidden-" + MARK


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


@pytest.fixture(scope="module", autouse=True)
def one_pool() -> Iterator[None]:
    yield
    rewards.close()


def checks() -> dict[str, dict[str, Any]]:
    """The same task in each kind that has several tests: the first is visible, the second holds the secret."""
    return {
        "calls": {"kind": "calls", "entry_point": "f", "calls": [["a"], [SECRET]], "expected": ["A", SECRET.upper()]},
        "asserts": {
            "kind": "asserts",
            "tests": ["assert f('a') == 'A'", f"assert f({SECRET!r}) == {SECRET.upper()!r}"],
        },
        "stdio": {
            "kind": "stdio",
            "cases": [{"stdin": "a\n", "stdout": "A\n"}, {"stdin": SECRET + "\n", "stdout": SECRET.upper() + "\n"}],
        },
    }


TELLTALES = {
    "raises what it was given": "def f(x): raise ValueError('I was given ' + x)",
    "writes what it was given": "import sys\ndef f(x):\n    print(x, file=sys.stderr)\n    return x",
    "right where it is seen": "def f(x):\n    if x != 'a': raise ValueError(x)\n    return 'A'",
    "returns what it was given": "def f(x): return x if x != 'a' else 'A'",
    "looks around before it is called": (
        "import gc, sys\nfound = [o for o in gc.get_objects() if 'hidden-' in repr(o)[:10**6]]\n"
        "raise SyntaxError(repr(found)[:10**5])"
    ),
    "is killed": "import os, sys\ndef f(x):\n    print(x, file=sys.stderr, flush=True)\n    os.abort()",
}


@pytest.mark.parametrize("kind", ["calls", "asserts", "stdio"])
def test_no_hidden_test_leaks_into_what_is_told(kind: str) -> None:
    check = checks()[kind]
    leaks = 0
    for name, code in TELLTALES.items():
        program = code + ("\nprint(f(input()))" if kind == "stdio" else "")
        made = attempt(check, fenced(program), 1, LOCAL)
        assert made.verdict.passed is False, name
        assert made.feedback, name
        assert MARK not in made.feedback.lower(), name
        leaks += MARK in rewards.feedback(made.verdict)
    assert leaks >= 2, "the verdict on all tests does hold it, or this proves nothing"


def test_the_visible_failure_is_told_in_full() -> None:
    made = attempt(checks()["calls"], fenced("def f(x): return x"), 1, LOCAL)
    assert made.verdict.score == 0.0
    for part in ("failed", "arguments: ['a']", "got: 'a'", "expected: 'A'"):
        assert part in made.feedback
    right = attempt(checks()["calls"], fenced("def f(x): return x.upper()"), 1, LOCAL)
    assert (right.verdict.score, right.feedback) == (1.0, "")
    some = attempt(checks()["calls"], fenced("def f(x): return 'A'"), 1, LOCAL)
    assert (some.verdict.score, some.feedback) == (0.5, HIDDEN)


async def test_what_may_be_visible() -> None:
    calls, wrong = checks()["calls"], fenced("def f(x): return 1")
    assert "expected: 'A'" in (await attempt_async(calls, wrong, [0], LOCAL)).feedback
    assert SECRET in (await attempt_async(calls, wrong, [1], LOCAL)).feedback
    assert "expected: 'A'" in (await attempt_async(calls, wrong, "all", LOCAL)).feedback
    nothing = await attempt_async(calls, wrong, 0, LOCAL)
    assert nothing.feedback == "The tests, which you were not shown, do not pass."
    whole = {"kind": "check", "entry_point": "f", "test": "def check(g):\n    assert g(1) == 2, 'one and one'"}
    assert "one and one" in (await attempt_async(whole, wrong, "all", LOCAL)).feedback
    assert "one" not in (await attempt_async(whole, wrong, 0, LOCAL)).feedback
    for bad in (3, -1, [2], [-1], "some"):
        with pytest.raises(ValueError, match="visible: "):
            await attempt_async(calls, wrong, bad, LOCAL)  # type: ignore[arg-type]


def test_a_completion_without_code_is_told_so() -> None:
    made = attempt(checks()["calls"], "I do not know.", 0, LOCAL)
    assert made.verdict.outcome is Outcome.UNPARSED and "fenced" in made.feedback


@settings(max_examples=60, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(), st.one_of(st.floats(allow_nan=False), st.text())), min_size=1, max_size=6),
    data=st.data(),
)
def test_the_visible_part_holds_the_visible_tests_and_no_other(pairs: list[tuple[Any, Any]], data: Any) -> None:
    numbers = data.draw(st.lists(st.integers(0, len(pairs) - 1), min_size=1, unique=True))
    check = CHECK.validate_python(
        {
            "kind": "calls",
            "entry_point": "f",
            "calls": [[a] for a, _ in pairs],
            "expected": [b for _, b in pairs],
            "also_py": repr([(b, b) for _, b in pairs]),
            "groups": {"base": 1},
        }
    )
    part: Any = visible_part(check, numbers)
    whole, cut = prepare(check), prepare(part)  # type: ignore[arg-type]
    assert cut.calls == [whole.calls[number] for number in numbers]
    assert cut.expected == [whole.expected[number] for number in numbers]
    assert cut.also == [whole.also[number] for number in numbers]
    assert not part.groups and part.calls is part.expected is None
