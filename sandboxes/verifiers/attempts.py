"""What every verifier that runs something does around it: retries, whose fault it was, and who judges the judge."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from sandboxes.check import Limits
from sandboxes.errors import LostTwice, SandboxError
from sandboxes.retry import judged
from sandboxes.runtime.codec import CodecError, decode, encode
from sandboxes.sandbox import End, Role, Sandbox, Session
from sandboxes.verdict import Isolation, Outcome, Verdict, infra_error

JUDGE_LIMITS = Limits(cpu_s=30, wall_s=180, memory_mb=1024)
"""The same for every job: a worker whose memory limit stays is the faster one."""


async def verdict_of(sandbox: Sandbox, isolation: Isolation, attempt: Callable[[], Awaitable[Verdict]]) -> Verdict:
    """Run an attempt, with the retry that a lost container deserves, to a verdict in any case."""
    try:
        return await judged(sandbox, attempt)
    except LostTwice as error:
        return Verdict(Outcome.TAMPERED, 0.0, 0, 1, str(error), engine=sandbox.engine, isolation=isolation)
    except SandboxError as error:
        return infra_error(str(error), engine=sandbox.engine, isolation=isolation)


class Overrun(Exception):
    """The judge did not survive the candidate's values: `tampered`."""


async def verdict_message(sandbox: Sandbox, session: Session, message: bytes | None) -> Any:
    """The value in a judge's `V` message.

    Args:
        sandbox: For a judge to compare with.
        session: The judge's.
        message: What it sent, or None where it ended without a verdict.

    Raises:
        Overrun: It has no verdict, although judges work: the values it was given did that.
        SandboxError: It has none, and other judges have none either.
    """
    if message is not None and message[:1] == b"V":
        try:
            return decode(message[1:])
        except CodecError as error:
            raise Overrun(f"the judge sent no verdict ({error})") from None
    ending = await session.finish(kill=True)
    if ending.end is not End.EXITED:
        raise Overrun(f"the judge overran on the candidate's values ({ending.end})")
    if await _judges_work(sandbox):
        raise Overrun(f"the judge broke on the candidate's values (status {ending.status})")
    tail = ending.stderr_tail.strip().splitlines()[-1:] or [f"status {ending.status}"]
    raise SandboxError(f"the judge does not work: {tail[0][:200]}")


async def _judges_work(sandbox: Sandbox) -> bool:
    one = encode(1)
    async with sandbox.session(Role.JUDGE, JUDGE_LIMITS) as session:
        await session.send(encode(("compare", "equal", None, [(b"", one, [], one)])))
        message = await session.receive()
    return message is not None and message[:1] == b"V"


def limited(limits: Limits, used_s: float) -> Limits | None:
    """What is left of a job's limits after so many CPU seconds, None if nothing is."""
    left = limits.cpu_s - used_s
    return limits.model_copy(update={"cpu_s": left}) if left > 0 else None
