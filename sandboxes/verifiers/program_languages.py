"""Kind `program` for languages other than Python: compiled with its tests, run, and believed if it says the secret."""

from __future__ import annotations

import re
import secrets

from sandboxes.check import ProgramCheck
from sandboxes.endings import breach, crashed, one_line
from sandboxes.joined import join
from sandboxes.joined import refused as not_tried
from sandboxes.languages import named
from sandboxes.programs import Execution, Programs, refused
from sandboxes.sandbox import Sandbox
from sandboxes.verdict import Outcome, Verdict

ROOM = 16 << 20
"""Bytes of stdout. Who prints more is not wrong by accident."""
_ASSERTION = re.compile(
    r"assert(?:ion)?[\w ]*failed|AssertionError|assertion `|--- FAIL|Test failed|ERR_ASSERTION", re.I
)
"""What says, for a person to read, that it was a test that failed. Nothing else hangs on it."""


async def judge_joined(sandbox: Sandbox, programs: Programs, check: ProgramCheck, code: str) -> Verdict:
    """Judge one answer.

    Raises:
        SandboxError: There are no tools of that language, or they could not be had this time.
    """
    language = named(check.language)
    why = not_tried(language, code, check.tests)
    if why:
        return _verdict(sandbox, Outcome.TAMPERED, why)
    secret = secrets.token_hex(16)
    run = await programs.run(
        join(language, code, check.tests), f"{secret}\n".encode(), check.limits, capture_stdout=ROOM
    )
    outcome, message = _outcome(run, secret.encode(), language.out_of_memory)
    return _verdict(sandbox, outcome, message, run)


def _outcome(run: Execution, secret: bytes, out_of_memory: tuple[str, ...]) -> tuple[Outcome, str]:
    if run.phase != "run":
        return refused(run)
    ending = run.ending
    over = breach(ending)
    if over is not None:
        return over
    if ending.status == 0:
        if secret in ending.stdout:
            return Outcome.PASSED, ""
        return Outcome.RUNTIME_ERROR, "exited with status 0 before the end of the tests"
    said = ending.stderr_tail + ending.stdout[-4000:].decode("utf-8", "replace")
    failure = _ASSERTION.search(said)
    if failure is not None:
        return Outcome.FAILED, said[failure.start() :].splitlines()[0]
    return crashed(ending, out_of_memory)


def _verdict(sandbox: Sandbox, outcome: Outcome, message: str, run: Execution | None = None) -> Verdict:
    passed = outcome is Outcome.PASSED
    tail = run.ending.stderr_tail[-2000:] if run is not None and run.phase == "run" else ""
    evidence = {"stderr": tail} if tail.strip() and not passed else {}
    return Verdict(
        outcome,
        float(passed),
        int(passed),
        1,
        one_line(message),
        cpu_s=run.ending.cpu_s if run is not None else 0.0,
        wall_s=run.ending.wall_s if run is not None else 0.0,
        engine=sandbox.engine,
        isolation="shared",
        evidence=evidence,
    )
