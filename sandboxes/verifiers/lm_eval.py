"""What a task of lm-evaluation-harness says of an answer: its own filters and metrics, in a process of its own.

The score is the task's first metric under its first filter; every metric under every filter is a part of the verdict,
named `metric` or `metric,filter`. Reasoning is split off before, as everywhere here; the rest reaches the task's rules
as it is, blanks and all, and an empty answer too.
"""

from __future__ import annotations

import asyncio

from sandboxes.check import Answer, LmEvalCheck
from sandboxes.errors import SandboxError
from sandboxes.extract import split
from sandboxes.lm_eval_task import LmEvalTask, Overran, TaskRefused, opened_task
from sandboxes.sandbox import Sandbox
from sandboxes.verdict import Outcome, Verdict, infra_error
from sandboxes.verifiers.completion import MAX_CHARACTERS, unparsed


class LmEvalVerifier:
    """Asks the process of the task that a suite opened."""

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        del sandbox

    async def verify(self, check: LmEvalCheck, answer: Answer) -> Verdict:
        """Judge one completion, or one log-likelihood for each choice."""
        task = opened_task(check.task)
        if task is None:
            return infra_error(f"the task {check.task} was not opened in this process")
        given: str | list[float]
        if isinstance(answer, str):
            if task.facts["ranked"]:
                return unparsed("one log-likelihood for each choice is wanted")
            if len(answer) > MAX_CHARACTERS:
                return unparsed(f"the completion has {len(answer):,} characters; at most {MAX_CHARACTERS:,} are judged")
            text = split(answer).answer
            if text is None:
                return unparsed("the reasoning was never closed, so there is no answer")
            given = text.encode("utf-8", "replace").decode("utf-8")
        elif isinstance(answer, tuple) and task.facts["ranked"]:
            given = list(answer)
        else:
            return unparsed("the completion must be text")
        return await asyncio.to_thread(_judged, task, check, given)


def _judged(task: LmEvalTask, check: LmEvalCheck, answer: str | list[float]) -> Verdict:
    limits = check.limits
    try:
        values = task.ask(
            "judge",
            wall_s=limits.wall_s,
            cpu_s=limits.cpu_s,
            document=check.document,
            sha256=check.sha256,
            answer=answer,
        )
    except Overran as error:
        return Verdict(Outcome.TIMEOUT, 0.0, message=str(error))
    except (SandboxError, TaskRefused) as error:
        return infra_error(str(error))
    parts: dict[str, float] = {}
    for name, value in values["values"].items():
        short = part_name(name)
        if isinstance(value, list):
            parts |= {f"{short}/{place}": number for place, number in enumerate(value)}
        else:
            parts[short] = value
    if check.metric not in parts and f"{check.metric}/0" not in parts:
        return infra_error(f"the task gave no {check.metric}, but {', '.join(parts) or 'nothing'}")
    value = values["score"]
    if value is None:  # a text's likelihood: the score is made of all of them
        return Verdict(Outcome.PASSED, 1.0, 1, 1, "measured: nothing in it can be wrong", parts=parts)
    score = min(1.0, max(0.0, value))
    right = score == (0.0 if check.lower_is_better else 1.0)
    return Verdict(
        Outcome.PASSED if right else Outcome.FAILED,
        score,
        int(right),
        1,
        "" if right else f"{check.metric} is {value:g}",
        parts=parts,
    )


def part_name(name: str) -> str:
    """`acc` for `acc,none`, as there is nothing to tell apart; other filters stay."""
    return name.removesuffix(",none")
