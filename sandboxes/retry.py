"""Whose fault a lost container is: the answer is tried again, and canaries tell a killing answer from a killed machine.

An engine that restarts loses all its containers, and a second try may well meet one that is just about to die. So after
two losses a canary must pass, which waits for the machine to be itself again, and then a last try decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from sandboxes.errors import ContainerLost, LostTwice, SandboxError
from sandboxes.sandbox import Sandbox

T = TypeVar("T")
TRIES = 3


async def judged(sandbox: Sandbox, attempt: Callable[[], Awaitable[T]]) -> T:
    """Run `attempt`, again in fresh containers if one is lost under it.

    Args:
        sandbox: Where `attempt` opens its sessions.
        attempt: The whole judgement of one answer, from its first session on; must be repeatable.

    Raises:
        LostTwice: Lost each time, while a known-good job passes before and after the last: the answer does it.
        SandboxError: A canary fails too, or any other failure of ours.
    """
    for tries in range(TRIES):
        try:
            return await attempt()
        except ContainerLost as lost:
            last = lost
        if tries and not await sandbox.healthy():
            raise SandboxError(f"containers are being lost, whatever runs in them ({last})") from last
    raise LostTwice(f"this answer took down its container {TRIES} times ({last})") from last
