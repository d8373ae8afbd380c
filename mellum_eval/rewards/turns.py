"""Several attempts at one problem: the score by all tests, and words for the next attempt from the visible ones alone.

What a model may be told is had by running its code on the visible tests and nothing else. A verdict on hidden tests is
no source for it, not even its message: the arena must hand a candidate the arguments of hidden calls, and it could put
them into an exception for its successor to read.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from mellum_eval.rewards import background
from mellum_eval.rewards.options import Options
from mellum_eval.rewards.plain import feedback, judge_rows
from mellum_eval.rewards.rows import checked
from sandboxes import prepared
from sandboxes.check import AssertsCheck, CallsCheck, Check, StdioCheck
from sandboxes.literals import parse_list
from sandboxes.verdict import Outcome, Verdict
from sandboxes.verify import Judges

Visible: TypeAlias = int | Sequence[int] | Literal["all"]
"""The tests that the prompt showed: the first so many, or their numbers from 0, or all of them."""
HIDDEN = "The tests that you were shown pass, but others do not."
_DEFAULT = Options()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt.

    Attributes:
        verdict: By all tests; its `score` is the reward, and None where it could not be judged.
        feedback: What the model may be told; empty where the attempt passed, or could not be judged.
    """

    verdict: Verdict
    feedback: str


def attempt(check: Any, completion: Any, visible: Visible, options: Options = _DEFAULT) -> Attempt:
    """Judge an attempt by all tests, and say what the visible ones show.

    Args:
        check: Contract 3's object without id and answer, or its JSON text.
        completion: Text or chat messages.
        visible: Tests that the prompt showed. Checks that are one test (`check`, and the kinds that judge text) are
            visible wholly or not: 0 or `all`.
        options: How to judge.

    Raises:
        ValueError: The check, the completion or `visible` is malformed; names the field.
        SandboxUnavailable: There is no sandbox here; says how to mend that.
    """
    return background.wait(options, lambda judges: _attempt(judges, check, completion, visible, options))


async def attempt_async(check: Any, completion: Any, visible: Visible, options: Options = _DEFAULT) -> Attempt:
    """`attempt` for callers with an event loop."""
    return await background.awaited(options, lambda judges: _attempt(judges, check, completion, visible, options))


def visible_part(check: Check, visible: Visible) -> Check | None:
    """The check with the visible tests alone, None if there are none.

    Raises:
        ValueError: There are no such tests.
    """
    if isinstance(visible, str):
        if visible != "all":
            raise ValueError(f"visible: a number, a list of numbers, or all, is wanted, not {visible!r}")
        return check
    total = _tests(check)
    numbers = list(range(visible)) if isinstance(visible, int) else list(visible)
    if any(not 0 <= number < total for number in numbers) or (isinstance(visible, int) and visible < 0):
        raise ValueError(f"visible: {visible!r} is not among the {total} tests of this check of kind {check.kind}")
    if not numbers:
        return None
    if isinstance(check, CallsCheck):
        return _calls(check, numbers)
    if isinstance(check, AssertsCheck):
        return check.model_copy(update={"tests": [check.tests[number] for number in numbers]})
    if isinstance(check, StdioCheck):
        return check.model_copy(update={"cases": [check.cases[number] for number in numbers]})
    return check


def _tests(check: Check) -> int:
    if isinstance(check, CallsCheck):
        return len(prepared.ready(check).calls)
    if isinstance(check, AssertsCheck):
        return len(check.tests)
    return len(check.cases) if isinstance(check, StdioCheck) else 1


def _calls(check: CallsCheck, numbers: list[int]) -> CallsCheck:
    ready = prepared.ready(check)
    update: dict[str, Any] = {"groups": {}}
    for name, entries in (("calls", ready.calls), ("expected", ready.expected)):
        packed = prepared.pack_entries([entries[number] for number in numbers])
        update |= {name: None, f"{name}_py": None, f"{name}_b64": base64.b64encode(packed).decode("ascii")}
    if check.also_py is not None:
        also = parse_list(check.also_py, "also_py")
        update["also_py"] = repr([also[number] for number in numbers])
    return check.model_copy(update=update)


async def _attempt(judges: Judges, given: Any, completion: Any, visible: Visible, options: Options) -> Attempt:
    shown = visible_part(checked("row 0", given, options), visible)
    [verdict] = await judge_rows(judges, [(given, completion)], options)
    if verdict.passed is not False:
        return Attempt(verdict, "")
    if verdict.outcome is Outcome.UNPARSED:  # nothing was run: its message is about the completion alone
        return Attempt(verdict, feedback(verdict))
    if shown is None:
        return Attempt(verdict, "The tests, which you were not shown, do not pass.")
    [seen] = await judge_rows(judges, [(shown.model_dump(exclude_none=True), completion)], options)
    return Attempt(verdict, HIDDEN if seen.passed else feedback(seen))
