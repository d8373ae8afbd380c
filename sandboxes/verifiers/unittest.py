"""Kind `unittest`: all tests of the data set's test cases run and pass."""

from __future__ import annotations

from typing import Any

from sandboxes import prefetch
from sandboxes.check import Answer, UnittestCheck
from sandboxes.sandbox import Sandbox
from sandboxes.splitting import candidate_names
from sandboxes.test_cases import discover, methods_of
from sandboxes.verdict import Verdict
from sandboxes.verifiers.attempts import verdict_of
from sandboxes.verifiers.beside import judge_beside
from sandboxes.verifiers.tested import Record, Tests, judge_apart


class UnittestVerifier:
    """Judges code by `unittest.TestCase`s: in the judge where they only call it, else beside it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def verify(self, check: UnittestCheck, answer: Answer) -> Verdict:
        """Judge one answer; see `sandboxes.verifiers.base.Verifier`."""
        sandbox, limits, code = self._sandbox, check.limits, str(answer)
        cases = discover(check.test)
        if check.shared:
            job = ("unittest", check.test, cases)
            names = methods_of(cases)
            return await verdict_of(sandbox, "shared", lambda: judge_beside(sandbox, limits, job, code, names))
        tests = _apart(check.test)
        return await verdict_of(sandbox, "split", lambda: judge_apart(sandbox, limits, tests, code))


def _apart(test: str) -> Tests:
    cases = discover(test)
    names = methods_of(cases)
    groups = prefetch.of_unittest(test, cases, *candidate_names(test))
    requests = [raw for group in groups for raw in group]

    def job(records: list[Record], alive: bool) -> tuple[Any, ...]:
        return ("unittest", test, cases, prefetch.grouped(groups, records), alive)

    return Tests("", requests, job, len(names), [test] * len(names), names)
