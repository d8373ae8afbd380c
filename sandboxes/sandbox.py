"""The protocol between verifiers and whatever confines untrusted work: sessions with one forked process tree each.

A session is one job: the supervisor forks a child from its warm zygote under a uid of its own; the two sides exchange
length-framed messages that the supervisor relays without looking into them; at the end the supervisor reports how it
went, kills what is left and cleans up. Arena sessions run candidates; judge sessions run data-set tests, comparisons
and math-verify. What the messages say is up to the child's program (`sandboxes/runtime/`).
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sandboxes.check import Limits
from sandboxes.languages import Family, Language


class Role(StrEnum):
    """Candidates and expected values never share a container."""

    ARENA = "arena"
    JUDGE = "judge"


class End(StrEnum):
    """Why a session's process tree ended."""

    EXITED = "exited"
    """By itself: see `Ending.status`."""
    CPU_LIMIT = "cpu_limit"
    WALL_LIMIT = "wall_limit"
    MEMORY_LIMIT = "memory_limit"
    OVERSIZE = "oversize"
    """It sent a message, or wrote more to stdout, than the caps allow."""
    PROTOCOL = "protocol"
    """It sent something that is no message."""
    KILLED = "killed"
    """By us, because the session was closed before it ended."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The supervisor's report on a finished session.

    Attributes:
        end: Why it ended.
        status: Exit code of the session's first process, negative for a signal, as in `subprocess`.
        cpu_s: CPU seconds of the whole process tree.
        wall_s: Wall seconds, less the time the session's processes stood in line for a CPU where the kernel tells.
        peak_mb: Highest resident memory of a single process, MiB.
        stdout: What was captured of stdout (only where the session asked for it).
        stderr_tail: The last 2,000 bytes of stderr, decoded with replacement.
    """

    end: End
    status: int
    cpu_s: float
    wall_s: float
    peak_mb: float
    stdout: bytes
    stderr_tail: str


class Session(Protocol):
    """One job in the making."""

    async def send(self, message: bytes) -> None:
        """Give the child a message. After the child's death this does nothing: `receive` tells."""
        ...

    async def receive(self) -> bytes | None:
        """The child's next message, or None once it has ended (then `finish` says how).

        Raises:
            ContainerLost: The container went away.
        """
        ...

    async def finish(self, *, kill: bool = False) -> Ending:
        """Wait for the end (after killing it, if asked), for the cleaning too, and report.

        Raises:
            ContainerLost: The container went away.
        """
        ...


class Sandbox(Protocol):
    """Somewhere to run sessions: a pool of warm, hardened workers behind one of the engines."""

    @property
    def engine(self) -> str:
        """`docker` or `local`."""
        ...

    def session(
        self, role: Role, limits: Limits, *, capture_stdout: int = 0, family: Family = "python"
    ) -> AbstractAsyncContextManager[Session]:
        """Open a session on the next free worker of that kind; leaving the context kills what has not ended.

        Args:
            role: Arena or judge.
            limits: What its process tree may use.
            capture_stdout: Bytes of stdout to keep; 0 sends stdout to nowhere. More output than this is `OVERSIZE`.
            family: Which image's tools are there.
        """
        ...

    async def require(self, language: Language) -> None:
        """Do nothing if programs of a language can be compiled and run here.

        Raises:
            SandboxUnavailable: Its tools cannot be had; says how to mend that.
        """
        ...

    async def healthy(self) -> bool:
        """Whether a fresh session of a known-good job works now: tells a killed machine from a killing candidate."""
        ...

    async def close(self) -> None:
        """Stop the workers and remove what they left."""
        ...
