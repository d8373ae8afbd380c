"""Kind `program`: the program of the code and, after it, a file of tests runs to its end and exits with 0."""

from __future__ import annotations

from dataclasses import replace

from sandboxes.check import Answer, ProgramCheck
from sandboxes.programs import Programs
from sandboxes.sandbox import Sandbox
from sandboxes.test_cases import discover, methods_of, runs_unittest
from sandboxes.verdict import Outcome, Verdict
from sandboxes.verifiers.attempts import verdict_of
from sandboxes.verifiers.beside import judge_beside
from sandboxes.verifiers.program_languages import judge_joined


class ProgramVerifier:
    """Judges code by tests that are a part of its program, as MultiPL-E does: it passes or it does not."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._programs = Programs(sandbox)

    async def verify(self, check: ProgramCheck, answer: Answer) -> Verdict:
        """Judge one answer; see `sandboxes.verifiers.base.Verifier`."""
        return await verdict_of(self._sandbox, "shared", lambda: self._attempt(check, str(answer)))

    async def _attempt(self, check: ProgramCheck, code: str) -> Verdict:
        if check.language != "python":
            return await judge_joined(self._sandbox, self._programs, check, code)
        return await self._python(check, code)

    async def _python(self, check: ProgramCheck, code: str) -> Verdict:
        if not runs_unittest(check.tests):
            return await judge_beside(self._sandbox, check.limits, ("tested", check.tests), code, ["tests"])
        cases = discover(check.tests)
        names = methods_of(cases)
        verdict = await judge_beside(self._sandbox, check.limits, ("unittest", check.tests, cases), code, names)
        if verdict.outcome is Outcome.INFRA_ERROR:
            return verdict
        passed = verdict.outcome is Outcome.PASSED
        return replace(verdict, score=float(passed), tests_passed=int(passed), tests_total=1)
