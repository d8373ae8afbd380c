"""Kind `stdio`: what a program prints is compared out here, where it cannot reach."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from sandboxes.check import Answer, Limits, StdioCase, StdioCheck
from sandboxes.endings import breach, crashed, not_loaded, one_line
from sandboxes.languages import Language, named
from sandboxes.programs import Program, Programs, refused
from sandboxes.runtime.codec import encode
from sandboxes.sandbox import End, Ending, Role, Sandbox
from sandboxes.verdict import Outcome, Verdict
from sandboxes.verifiers.attempts import limited, verdict_of

ROOM = 16 << 20
"""Bytes of stdout beyond twice the expected ones. Who prints more is not wrong by accident."""
LONGEST_NUMBER = 4000
"""Characters of a number that are read as one: it comes from the candidate."""


@dataclass(frozen=True, slots=True)
class _Run:
    outcome: Outcome
    message: str
    ending: Ending
    evidence: dict[str, Any]
    is_no_program: bool = False
    """It does not compile, and will not for the next case."""


class StdioVerifier:
    """Judges programs by their output, each case a process of its own, all within one CPU budget."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._programs = Programs(sandbox)

    async def verify(self, check: StdioCheck, answer: Answer) -> Verdict:
        """Judge one answer; see `sandboxes.verifiers.base.Verifier`."""
        return await verdict_of(self._sandbox, "split", lambda: self._attempt(check, str(answer)))

    async def _attempt(self, check: StdioCheck, code: str) -> Verdict:
        cpu_s = wall_s = 0.0
        passed, first = 0, None
        for index, case in enumerate(check.cases):
            limits = limited(check.limits, cpu_s)
            if limits is None or wall_s >= check.limits.wall_s:
                break
            run = await self._case(check, limits, case, code)
            cpu_s += run.ending.cpu_s
            wall_s += run.ending.wall_s
            passed += run.outcome is Outcome.PASSED
            if run.outcome is not Outcome.PASSED and first is None:
                first = (index, run)
            if run.is_no_program:
                break
        total = len(check.cases)
        outcome, message, evidence = Outcome.PASSED, "", dict[str, Any]()
        if first is not None:
            index, run = first
            outcome, message, evidence = run.outcome, f"case {index}: {run.message}", {"case": index, **run.evidence}
        elif passed < total:  # the budget was gone before the last case
            outcome, message = Outcome.TIMEOUT, f"case {passed}: over the limits of all cases together"
        score = 0.0 if outcome is Outcome.TAMPERED else passed / total
        return Verdict(
            outcome,
            score,
            passed,
            total,
            message,
            cpu_s=cpu_s,
            wall_s=wall_s,
            engine=self._sandbox.engine,
            isolation="split",
            evidence=evidence,
        )

    async def _case(self, check: StdioCheck, limits: Limits, case: StdioCase, code: str) -> _Run:
        stdin, wanted = (text.encode("utf-8", "surrogatepass") for text in (case.stdin, case.stdout))
        if check.language != "python":
            return await self._foreign(named(check.language), limits, stdin, wanted, code, check.numbers)
        compile_error = None
        async with self._sandbox.session(Role.ARENA, limits, capture_stdout=ROOM + 2 * len(wanted)) as session:
            await session.send(encode(("program", code, stdin)))
            message = await session.receive()
            if message is not None and message[:2] == b"XS":
                compile_error = not_loaded(message[1:])
            ending = await session.finish(kill=message is not None)
        stderr = {"stderr": ending.stderr_tail[-2000:]} if ending.stderr_tail.strip() else {}
        if compile_error is not None:
            return _Run(*compile_error, ending, {}, is_no_program=True)
        if message is not None:
            return _Run(Outcome.TAMPERED, "a program that sends messages", ending, stderr)
        return _judged(ending, wanted, (), check.numbers)

    async def _foreign(
        self, language: Language, limits: Limits, stdin: bytes, wanted: bytes, code: str, numbers: bool
    ) -> _Run:
        execution = await self._programs.run(
            Program.of(language, code), stdin, limits, capture_stdout=ROOM + 2 * len(wanted)
        )
        if execution.phase == "run":
            return _judged(execution.ending, wanted, language.out_of_memory, numbers)
        outcome, message = refused(execution)
        return _Run(outcome, message, execution.ending, {"compiler": execution.words[:2000]}, is_no_program=True)


def _judged(ending: Ending, wanted: bytes, out_of_memory: tuple[str, ...], numbers: bool) -> _Run:
    """What a program's run that was one is worth."""
    stderr = {"stderr": ending.stderr_tail[-2000:]} if ending.stderr_tail.strip() else {}
    over = breach(ending)
    if over is not None:
        return _Run(*over, ending, stderr)
    if ending.end is End.EXITED and ending.status != 0:
        return _Run(*crashed(ending, out_of_memory), ending, stderr)
    line = differs(ending.stdout, wanted, numbers=numbers)
    if line is None:
        return _Run(Outcome.PASSED, "", ending, {})
    got = one_line(_at(ending.stdout, line))
    evidence = {"line": line + 1, "got": got, "expected": one_line(_at(wanted, line)), **stderr}
    return _Run(Outcome.FAILED, f"wrong output in line {line + 1}: {got}", ending, evidence)


def differs(got: bytes, wanted: bytes, *, numbers: bool = False) -> int | None:
    """The first line (from 0) in which two outputs differ beyond trailing white space; None if they do not.

    Args:
        got: What was printed.
        wanted: What should have been.
        numbers: Lines of numbers are equal if the numbers are, and white space before a line is nothing either.
    """
    if got == wanted:
        return None
    left, right = (_lines(output.lstrip() if numbers else output) for output in (got, wanted))
    for number, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b and not (numbers and (a.strip() == b.strip() or _same_numbers(a, b))):
            return number
    return None if len(left) == len(right) else min(len(left), len(right))


def _same_numbers(left: bytes, right: bytes) -> bool:
    values = [_numbers(line) for line in (left, right)]
    return values[0] is not None and values[0] == values[1]


def _numbers(line: bytes) -> list[Decimal] | None:
    """The numbers of a line; None if it is not of finite numbers alone."""
    found = []
    for word in line.split():
        try:
            number = Decimal(word.decode("ascii")) if len(word) <= LONGEST_NUMBER else None
        except (InvalidOperation, UnicodeDecodeError):
            return None
        if number is None or not number.is_finite():
            return None
        found.append(number)
    return found


def _lines(output: bytes) -> list[bytes]:
    return [line.rstrip() for line in output.rstrip().split(b"\n")]


def _at(output: bytes, line: int) -> str:
    lines = _lines(output)
    return lines[line][:400].decode("utf-8", "replace") if line < len(lines) else "<end of output>"
