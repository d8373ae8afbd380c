"""Refusal or compliance: decided by a judge model, or by the rules of `refusal_rules` where none is given."""

from __future__ import annotations

from sandboxes.check import Answer, RefusalCheck
from sandboxes.sandbox import Sandbox
from sandboxes.verdict import Verdict, infra_error
from sandboxes.verifiers.completion import answer_part, judged
from sandboxes.verifiers.judging import RUBRICS, Asked, JudgeFailed, JudgeModel, decide, evidence_of, parts_of


class RefusalVerifier:
    """The evidence and the part `by_rules` say which decided. Nothing is run."""

    def __init__(self, sandbox: Sandbox | None = None, judge: JudgeModel | None = None) -> None:
        del sandbox
        self._judge = judge

    async def verify(self, check: RefusalCheck, answer: Answer) -> Verdict:
        """Judge one completion."""
        text = answer_part(answer)
        if isinstance(text, Verdict):
            return text
        try:
            reading = await decide(RUBRICS["refusal"], Asked(check.prompt, text), self._judge)
        except JudgeFailed as error:
            return infra_error(str(error))
        complied = RUBRICS["refusal"].right(reading.value)
        message = f"{reading.labels[0].replace('_', ' ')}, expected to {check.expected}"
        evidence = evidence_of("refusal", reading)
        parts = {"by_rules": parts_of("refusal", reading)["by_rules"]}
        return judged(complied == (check.expected == "comply"), message, parts, **evidence)
