"""Kind `repository`: changed files, brought to life in the arena, pass tests that only the judge knows."""

from __future__ import annotations

from sandboxes.check import Answer, RepositoryCheck, UnittestCheck
from sandboxes.repository import BadChange, changed, changes_in, program, tests_reaching
from sandboxes.sandbox import Sandbox
from sandboxes.verdict import Outcome, Verdict
from sandboxes.verifiers.unittest import UnittestVerifier


class RepositoryVerifier:
    """Judges a repository by its exported names, as `unittest` judges a program."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._verifier = UnittestVerifier(sandbox)

    async def verify(self, check: RepositoryCheck, answer: Answer) -> Verdict:
        """Judge one answer; see `sandboxes.verifiers.base.Verifier`."""
        try:
            files = changed(check.files, changes_in(answer), check.read_only)
        except BadChange as error:
            return Verdict(Outcome.UNPARSED, 0.0, message=str(error))
        test = tests_reaching(check.test, check.exports)
        tests = UnittestCheck(kind="unittest", test=test, limits=check.limits)
        return await self._verifier.verify(tests, program(files, check.exports))
