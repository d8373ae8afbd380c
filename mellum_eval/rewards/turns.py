"""Several attempts at one problem: the score by all tests, and words for the next attempt from the visible ones alone.

What a model may be told is had by running its code on the visible tests and nothing else. A verdict on hidden tests is
no source for it, not even its message: the arena must hand a candidate the arguments of hidden calls, and it could put
them into an exception for its successor to read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mellum_eval.rewards import background
from mellum_eval.rewards.options import Options
from mellum_eval.rewards.plain import feedback, judge_rows
from mellum_eval.rewards.rows import checked
from sandboxes.verdict import Outcome, Verdict
from sandboxes.verify import Judges
from sandboxes.visible import Visible, visible_part

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
    return background.wait(options, lambda judges: attempt_by(judges, check, completion, visible, options))


async def attempt_async(check: Any, completion: Any, visible: Visible, options: Options = _DEFAULT) -> Attempt:
    """`attempt` for callers with an event loop."""
    return await background.awaited(options, lambda judges: attempt_by(judges, check, completion, visible, options))


async def attempt_by(judges: Judges, given: Any, completion: Any, visible: Visible, options: Options) -> Attempt:
    """`attempt` for callers that have the judges, such as work in the background."""
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
