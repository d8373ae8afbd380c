"""Answers that only a judge can grade, by one of the rubrics of `judging`."""

from __future__ import annotations

from sandboxes.check import Answer, JudgedCheck
from sandboxes.sandbox import Sandbox
from sandboxes.verdict import Verdict, infra_error
from sandboxes.verifiers.completion import answer_part, judged
from sandboxes.verifiers.judging import RUBRICS, Asked, JudgeFailed, JudgeModel, decide, evidence_of, parts_of


class JudgedVerifier:
    """The rubric's value is a part of the verdict; what passes is said by the rubric. Nothing is run."""

    def __init__(self, sandbox: Sandbox | None = None, judge: JudgeModel | None = None) -> None:
        del sandbox
        self._judge = judge

    async def verify(self, check: JudgedCheck, answer: Answer) -> Verdict:
        """Judge one completion."""
        text = answer_part(answer)
        if isinstance(text, Verdict):
            return text
        rubric = RUBRICS[check.rubric]
        try:
            reading = await decide(rubric, Asked(check.prompt, text, check.reference), self._judge)
        except JudgeFailed as error:
            return infra_error(str(error))
        message = f"{rubric.metric} {reading.value:g}: {', '.join(reading.labels)}"
        evidence = evidence_of(check.rubric, reading)
        return judged(rubric.right(reading.value), message, parts_of(check.rubric, reading), **evidence)
