"""A verdict for a completion, without any trainer's form around it, and what to tell the model for a next attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from mellum_eval.rewards import background
from mellum_eval.rewards.options import Options
from mellum_eval.rewards.rows import answer_of, checked, refused_as_shared
from mellum_eval.terminal import printable
from sandboxes.check import Answer, Check
from sandboxes.errors import SandboxError, SandboxUnavailable
from sandboxes.verdict import Verdict, infra_error
from sandboxes.verifiers import NEEDS_SANDBOX
from sandboxes.verify import Judges
from sandboxes.visible import words

FEEDBACK_CHARACTERS = 2000
_DEFAULT = Options()


def judge(check: Any, completion: Any, options: Options = _DEFAULT) -> Verdict:
    """Judge one completion.

    Args:
        check: Contract 3's object without id and answer, or its JSON text.
        completion: Text or chat messages.
        options: How to judge.

    Returns:
        The verdict; `score` is None where it could not be judged.

    Raises:
        ValueError: The check or the completion is malformed; names the field.
        SandboxUnavailable: There is no sandbox here; says how to mend that.
    """
    return background.wait(options, lambda judges: judge_rows(judges, [(check, completion)], options))[0]


async def judge_async(check: Any, completion: Any, options: Options = _DEFAULT) -> Verdict:
    """`judge` for callers with an event loop."""
    verdicts = await background.awaited(options, lambda v: judge_rows(v, [(check, completion)], options))
    return verdicts[0]


def feedback(verdict: Verdict) -> str:
    """What went wrong, as text for the model's next attempt; empty where it passed or could not be judged.

    It may hold the failing call and the expected value. So give it the verdict on a check that has only the tests which
    the prompt showed anyway, or let `attempt` do that; from hidden ones a policy would learn the answers.
    """
    if verdict.passed is not False:
        return ""
    return printable(words(verdict))[:FEEDBACK_CHARACTERS]


async def judge_rows(judges: Judges, rows: Sequence[tuple[Any, Any]], options: Options) -> list[Verdict]:
    """Judge pairs of check and completion, all at the same time. All are read before any is judged."""
    parsed: list[tuple[Check, Answer | Verdict]] = []
    for number, (given, completion) in enumerate(rows):
        check = checked(f"row {number}", given, options)
        parsed.append((check, answer_of(f"row {number}", check, completion)))
        await asyncio.sleep(0)  # a big table must not stop the clock of what is being judged for others
    if any(check.kind in NEEDS_SANDBOX and not isinstance(answer, Verdict) for check, answer in parsed):
        try:
            await judges.ready()
        except SandboxUnavailable:
            raise
        except SandboxError as error:
            background.log.warning("the sandbox does not start: %s", error)
            return [a if isinstance(a, Verdict) else infra_error(str(error)) for _, a in parsed]
    work = [asyncio.ensure_future(_one(judges, check, answer)) for check, answer in parsed]
    try:
        verdicts = await asyncio.gather(*work)
    except BaseException:
        for task in work:
            task.cancel()
        raise
    for number, ((check, _), verdict) in enumerate(zip(parsed, verdicts, strict=True)):
        if verdict.isolation == "shared" and not options.allow_shared:
            raise ValueError(f"row {number}: {refused_as_shared(check.kind)}")
    return list(verdicts)


async def _one(judges: Judges, check: Check, answer: Answer | Verdict) -> Verdict:
    if isinstance(answer, Verdict):
        return answer
    return await judges.verify_twice(check, answer)
