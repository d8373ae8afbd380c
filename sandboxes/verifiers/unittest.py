"""Kind `unittest`: all tests of the data set's test cases run and pass."""

from __future__ import annotations

from sandboxes.check import Answer, UnittestCheck
from sandboxes.sandbox import Sandbox
from sandboxes.test_cases import discover, methods_of
from sandboxes.verdict import Verdict
from sandboxes.verifiers.attempts import verdict_of
from sandboxes.verifiers.beside import judge_beside


class UnittestVerifier:
    """Judges code by `unittest.TestCase`s."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def verify(self, check: UnittestCheck, answer: Answer) -> Verdict:
        """Judge one answer; see `sandboxes.verifiers.base.Verifier`."""
        cases = discover(check.test)
        job, names = ("unittest", check.test, cases), methods_of(cases)
        return await verdict_of(
            self._sandbox, "shared", lambda: judge_beside(self._sandbox, check.limits, job, str(answer), names)
        )
