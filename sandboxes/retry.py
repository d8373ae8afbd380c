"""Whose fault a lost container is: tried again once, and then asked of a canary."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from sandboxes.errors import ContainerLost, LostTwice, SandboxError
from sandboxes.sandbox import Sandbox

T = TypeVar("T")


async def judged(sandbox: Sandbox, attempt: Callable[[], Awaitable[T]]) -> T:
    """Run `attempt`, once more in fresh containers if one is lost under it.

    Args:
        sandbox: Where `attempt` opens its sessions.
        attempt: The whole judgement of one answer, from its first session on; must be repeatable.

    Raises:
        LostTwice: Lost both times, while a known-good job passes: the answer does it.
        SandboxError: Lost both times and the canary fails too, or any other failure of ours.
    """
    try:
        return await attempt()
    except ContainerLost:
        pass
    try:
        return await attempt()
    except ContainerLost as lost:
        if await sandbox.healthy():
            raise LostTwice(f"this answer took down its container twice ({lost})") from lost
        raise SandboxError(f"containers are being lost, whatever runs in them ({lost})") from lost
