"""Tests that run beside the candidate, in its process: what comes back, and what of it is believed."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from sandboxes.check import Limits
from sandboxes.endings import breach, not_loaded, one_line, raised, unanswered
from sandboxes.runtime.codec import encode
from sandboxes.sandbox import Ending, Role, Sandbox
from sandboxes.verdict import Outcome, Verdict, infra_error

SECRET_BYTES = 32
NOTES = 64
"""Notes that are kept. A candidate can send as many as it likes."""


async def judge_beside(
    sandbox: Sandbox, limits: Limits, job: tuple[Any, ...], code: str, tests: Sequence[str]
) -> Verdict:
    """Run a job of `sandboxes.runtime.shared`.

    Args:
        sandbox: Where.
        limits: For candidate and tests together.
        job: What `shared` takes.
        code: The candidate.
        tests: Names of the tests that must report, in order.

    Raises:
        ContainerLost: The container went away.
    """
    secret = secrets.token_bytes(SECRET_BYTES)
    notes: dict[str, bytes] = {}
    whole: tuple[Outcome, str] | None = None
    report: bytes | None = None
    async with sandbox.session(Role.ARENA, limits) as arena:
        await arena.send(encode(job))
        ready = await arena.receive()
        if ready is None or ready[:1] != b"R":  # the candidate is not there yet: this is ours or the data set's
            ending = await arena.finish(kill=True)
            why = raised(ready[1:])[1] if ready is not None else unanswered(ending)[1]
            return infra_error(f"the tests cannot be run here: {why}", engine=sandbox.engine, isolation="shared")
        await arena.send(code.encode("utf-8", "surrogatepass"))
        await arena.send(secret)
        while whole is None and report is None and (message := await arena.receive()) is not None:
            if message[:1] == b"X":
                whole = not_loaded(message[1:])
            elif message[:1] == b"N" and len(notes) < NOTES:
                name, _, note = message[1:3000].partition(b"\0")
                notes[name.decode("utf-8", "replace")] = note
            elif message[:1] == b"T":
                report = message[1:]
        ending = await arena.finish(kill=True)
    passed = [False] * len(tests)
    if report is not None:
        if len(report) != SECRET_BYTES + len(tests) or not secrets.compare_digest(report[:SECRET_BYTES], secret):
            whole = Outcome.TAMPERED, "a report without the secret"
        else:
            marks = report[SECRET_BYTES:]
            passed = [mark == 1 for mark in marks]
            if 2 in marks:
                whole = Outcome.TAMPERED, one_line(_note(notes, tests[marks.index(2)])[1])
    elif whole is None:
        whole = unanswered(ending)
    return _verdict(sandbox, tests, passed, notes, whole or breach(ending), ending)


def _note(notes: dict[str, bytes], test: str) -> tuple[Outcome, str]:
    """What the process itself said of a failure: for a person to read."""
    note = notes.get(test, b"")
    if note.startswith(b"tampered\0"):
        return Outcome.TAMPERED, note[9:].decode("utf-8", "replace")
    outcome, text = raised(note)
    return (Outcome.FAILED if note.startswith(b"AssertionError\0") or not note else outcome), text or "it did not pass"


def _verdict(
    sandbox: Sandbox,
    tests: Sequence[str],
    passed: list[bool],
    notes: dict[str, bytes],
    whole: tuple[Outcome, str] | None,
    ending: Ending,
) -> Verdict:
    count, total = sum(passed), len(tests)
    outcome, message, evidence = Outcome.PASSED, "", dict[str, Any]()
    if whole is not None:
        outcome, message = whole
        count = 0 if outcome is Outcome.TAMPERED else min(count, total - 1)
    elif count < total:
        first = tests[passed.index(False)]
        outcome, message = _note(notes, first)
        message = f"{first}: {message}" if total > 1 else message
        evidence = {"test": first}
    if outcome is not Outcome.PASSED and ending.stderr_tail.strip():
        evidence["stderr"] = ending.stderr_tail[-2000:]
    return Verdict(
        outcome,
        count / total,
        count,
        total,
        one_line(message),
        cpu_s=ending.cpu_s,
        wall_s=ending.wall_s,
        engine=sandbox.engine,
        isolation="shared",
        evidence=evidence,
    )
