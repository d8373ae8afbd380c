"""What an engine owes the pool: a confined process whose stdin and stdout are one byte stream each.

An engine starts `sandboxes.bootstrap.command()` as process 1 of its confinement and hands over the stream. It knows
nothing of frames and sessions: the pool ships the runtime over the stream and speaks with the supervisor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sandboxes.languages import Family, Language
from sandboxes.sandbox import Role


@dataclass(frozen=True, slots=True)
class Confinement:
    """What the supervisor must know of the place it runs in.

    Attributes:
        uid_base: First user id that sessions run under, as seen inside.
        uid_count: How many there are; sessions take turns. 0: users cannot be switched, so each session gets a pid
            namespace of its own instead.
        work: Directory in which each session gets a directory of its own; writable by all, sticky, owned by root.
        areas: All directories that a session can write in; each must be empty before the next session.
        paths: Further directories for `sys.path`: where the image's numpy (and the judge's math-verify) are.
        search: Directories of programs, before the usual ones on PATH.
        cgroup: Whether `/sys/fs/cgroup` inside shows this confinement's own group and nothing else.
        max_processes: Processes and threads of a session (RLIMIT_NPROC).
        max_file_mb: Largest file that a session may write, MiB.
        mapped: How many times a session's memory a process may map for itself (RLIMIT_DATA): virtual machines, and
            threads with deep stacks, map far more than they use, which the control group or the supervisor measures.
        seccomp: With `uid_count` 0: a further filter for sessions only, as hexadecimal BPF. It takes back what the
            zygote still needs to make their namespaces.
    """

    uid_base: int
    uid_count: int
    work: str = "/work"
    areas: tuple[str, ...] = ("/work", "/tmp", "/dev/shm", "/dev/mqueue")
    paths: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    cgroup: bool = False
    max_processes: int = 128
    max_file_mb: int = 64
    mapped: int = 1
    seccomp: str = ""


class Channel(Protocol):
    """The stream to one confined supervisor."""

    @property
    def id(self) -> str:
        """A name for log lines: a container's short id, a process id."""
        ...

    @property
    def alive(self) -> bool:
        """Whether its stream still stood when last heard of; a dead one is not given to a session."""
        ...

    @property
    def confinement(self) -> Confinement:
        """What to tell the supervisor."""
        ...

    async def ready(self, hello: Mapping[str, Any]) -> None:
        """The supervisor is ready, and says this of itself: time to take a shorter way to it, if there is one."""
        ...

    async def send(self, data: bytes) -> None:
        """Write all of it, waiting where the other side is slow.

        Raises:
            ContainerLost: The stream is closed.
        """
        ...

    async def receive(self, n: int) -> bytes:
        """Exactly `n` bytes. Safe to cancel: nothing is lost then.

        Raises:
            ContainerLost: The stream ended before.
        """
        ...

    async def set_memory(self, memory_mb: int) -> None:
        """Change what sessions may use together, where the engine can; else do nothing (rlimits and ticks remain)."""
        ...

    async def kill(self) -> None:
        """Kill and remove the confinement with everything in it. Never raises; safe to call twice."""
        ...

    def diagnosis(self) -> str:
        """Last words of the confinement's stderr, for an error message."""
        ...


class Engine(Protocol):
    """A way to start confined supervisors."""

    @property
    def name(self) -> str:
        """`docker` or `local`."""
        ...

    async def require(self, language: Language) -> None:
        """Do nothing if the tools of a language can be had.

        Raises:
            SandboxUnavailable: They cannot; says how to mend that.
        """
        ...

    async def launch(self, role: Role, worker: int, memory_mb: int, family: Family = "python") -> Channel:
        """Start a confinement with nothing in it but `sandboxes.bootstrap.command()`.

        Args:
            role: What will run in it.
            worker: Number of the worker in its pool, from 0, arena and judge counted apart.
            memory_mb: What a session may use, MiB; the engine adds what the supervisor needs.
            family: Which languages' tools must be there.

        Raises:
            SandboxUnavailable: It cannot be had here at all; says how to mend that.
            SandboxError: It could not be had this time.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """For the run's manifest: engine version, image digest, limits. JSON-serialisable."""
        ...

    async def close(self) -> None:
        """Remove everything this engine started."""
        ...
