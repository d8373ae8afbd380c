"""Kinds whose data set brings test code: run in the judge, which reaches the candidate by calls alone.

First the arena answers the calls that the test is certain to make (`sandboxes.prefetch`), then the judge runs the test
on those answers and asks for any further call through this relay. So neither waits while the other works, and most
tests cost one exchange with each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sandboxes import prefetch
from sandboxes.check import Answer, AssertsCheck, CheckCheck, Limits
from sandboxes.endings import breach, not_loaded, one_line, unanswered
from sandboxes.runtime import wire
from sandboxes.runtime.codec import encode
from sandboxes.sandbox import Ending, Role, Sandbox, Session
from sandboxes.verdict import Outcome, Verdict, infra_error
from sandboxes.verifiers.attempts import JUDGE_LIMITS, Overrun, verdict_message, verdict_of

Record = tuple[bytes, bytes]
Line = tuple[str, str, int]
"""Of one test: kind, a message that gives nothing away, the line in the test's source."""


@dataclass(frozen=True, slots=True)
class Tests:
    """What the judge is to run."""

    entry_point: str
    requests: Sequence[bytes]
    job: Callable[[list[Record], bool], tuple[Any, ...]]
    """The judge's job, of the records that answer `requests` (perhaps not all) and whether the arena is alive."""
    count: int
    sources: Sequence[str]
    """Source of each test, to name the line that failed in the evidence."""
    names: Sequence[str] = ()
    """What to call each test; `test N` if not given."""


class CheckVerifier:
    """Judges code by HumanEval's `check(candidate)`."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def verify(self, check: CheckCheck, answer: Answer) -> Verdict:
        """Judge one answer; see `sandboxes.verifiers.base.Verifier`."""
        requests = prefetch.of_check(check.test, check.entry_point)

        def job(records: list[Record], alive: bool) -> tuple[Any, ...]:
            answered = [(raw, *record) for raw, record in zip(requests, records, strict=False)]
            return ("check", check.test, check.prelude, check.entry_point, answered, alive)

        test = Tests(check.entry_point, requests, job, 1, [check.test])
        return await verdict_of(
            self._sandbox, "split", lambda: judge_apart(self._sandbox, check.limits, test, str(answer))
        )


class AssertsVerifier:
    """Judges code by MBPP's assert statements."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def verify(self, check: AssertsCheck, answer: Answer) -> Verdict:
        """Judge one answer; see `sandboxes.verifiers.base.Verifier`."""
        groups = prefetch.of_asserts(tuple(check.tests), check.setup)
        requests = [raw for group in groups for raw in group]

        def job(records: list[Record], alive: bool) -> tuple[Any, ...]:
            return ("asserts", check.tests, check.setup, prefetch.grouped(groups, records), alive)

        test = Tests("", requests, job, len(check.tests), check.tests)
        return await verdict_of(
            self._sandbox, "split", lambda: judge_apart(self._sandbox, check.limits, test, str(answer))
        )


async def judge_apart(sandbox: Sandbox, limits: Limits, test: Tests, code: str) -> Verdict:
    """Run tests in the judge and the candidate in the arena.

    Raises:
        ContainerLost: One of them went away.
    """
    whole: tuple[Outcome, str] | None = None
    lines: list[Line] = []
    async with sandbox.session(Role.ARENA, limits) as arena:
        await arena.send(encode(("session", code, test.entry_point, list(test.requests))))
        records, whole = await _answers(arena, len(test.requests))
        if whole is None:
            alive = len(records) == len(test.requests)
            try:
                lines = await _tests(sandbox, arena, test, records, alive)
            except Overrun as error:
                whole = (Outcome.TAMPERED, str(error))
        await arena.send(wire.DONE)
        ending = await arena.finish(kill=True)
    return _verdict(sandbox, test, lines, whole or breach(ending), ending)


async def _answers(arena: Session, wanted: int) -> tuple[list[Record], tuple[Outcome, str] | None]:
    """The records that answer the first requests: fewer where the arena ended, and what befell it before any."""
    records: list[Record] = []
    heard = False  # an empty `R` too: that it is loaded
    while len(records) < wanted or not heard:
        message = await arena.receive()
        heard = True
        if message is None:
            return records, None if records else unanswered(await arena.finish())
        if message[:1] == b"X" and not records:
            return records, not_loaded(message[1:])
        try:
            if message[:1] != b"R":
                raise ValueError("a reply of no known kind")
            records += wire.records(message[1:])
        except ValueError as error:
            return records, (Outcome.TAMPERED, f"malformed reply: {error}")
    if len(records) > wanted:
        return records, (Outcome.TAMPERED, "malformed reply: more answers than calls")
    return records, None


async def _tests(sandbox: Sandbox, arena: Session, test: Tests, records: list[Record], alive: bool) -> list[Line]:
    """Let the judge run the tests, and put to the candidate what it asks."""
    async with sandbox.session(Role.JUDGE, JUDGE_LIMITS) as judge:
        await judge.send(encode(test.job(records, alive)))
        while (message := await judge.receive()) is not None and message[:1] == b"Q":
            await arena.send(message)
            reply = await arena.receive()
            await judge.send(b"X" if reply is None else reply)
        value = await verdict_message(sandbox, judge, message)
    try:
        lines = [(str(kind), one_line(str(text)), int(line)) for kind, text, line in value]
    except (TypeError, ValueError):
        raise Overrun("the judge sent no verdict") from None
    if len(lines) != test.count:
        raise Overrun("the judge sent no verdict")
    return lines


_OUTCOMES = {
    "failed": Outcome.FAILED,
    "spoiled": Outcome.FAILED,
    "raised": Outcome.RUNTIME_ERROR,
    "tampered": Outcome.TAMPERED,
}


def _verdict(
    sandbox: Sandbox, test: Tests, lines: list[Line], whole: tuple[Outcome, str] | None, ending: Ending
) -> Verdict:
    passed = sum(kind == "passed" for kind, _, _ in lines)
    first = next((i for i, line in enumerate(lines) if line[0] != "passed"), None)
    outcome, message, evidence = Outcome.PASSED, "", dict[str, Any]()
    if first is not None:
        kind, text, number = lines[first]
        if kind == "broken":
            return infra_error(text, engine=sandbox.engine, isolation="split")
        if kind == "gone":
            outcome, message = unanswered(ending)
        elif kind == "raised" and text.startswith("MemoryError"):
            outcome, message = Outcome.OUT_OF_MEMORY, text
        else:
            outcome, message = _OUTCOMES.get(kind, Outcome.TAMPERED), text
        if test.count > 1:
            message = f"{test.names[first] if test.names else f'test {first}'}: {message}"
        source = test.sources[first].splitlines()
        if 0 < number <= len(source):
            evidence = {"test": first, "line": number, "source": source[number - 1].strip()[:500]}
    if whole is not None and (first is None or whole[0] is Outcome.TAMPERED):
        outcome, message = whole
    if outcome is not Outcome.PASSED and ending.stderr_tail.strip():
        evidence["stderr"] = ending.stderr_tail[-2000:]
    score = passed / test.count
    if outcome is Outcome.TAMPERED:
        score = 0.0
    elif outcome is not Outcome.PASSED:  # a limit may have been broken after the last test
        score = min(passed, test.count - 1) / test.count
    return Verdict(
        outcome,
        score,
        passed,
        test.count,
        message,
        cpu_s=ending.cpu_s,
        wall_s=ending.wall_s,
        engine=sandbox.engine,
        isolation="split",
        evidence=evidence,
    )
