"""One worker and its sessions: the harness's end of the frames in `sandboxes.runtime.frames`."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable

from sandboxes.check import Limits
from sandboxes.engines.base import Channel
from sandboxes.errors import ContainerLost
from sandboxes.languages import Family
from sandboxes.runtime import frames
from sandboxes.runtime.job import WALL_PATIENCE
from sandboxes.sandbox import End, Ending, Role

GRACE_S = 0.01
OVERDUE_S = 120.0
"""Beyond the longest that its limits can take, how late the end of a session may be: starting, killing and cleaning."""
GROWTH_MB = 48.0
"""How much more than after its first session a worker's supervisor and zygote may hold before it is replaced."""

_ENDS = (
    End.EXITED,
    End.CPU_LIMIT,
    End.WALL_LIMIT,
    End.MEMORY_LIMIT,
    End.OVERSIZE,
    End.PROTOCOL,
    End.KILLED,
)


class Worker:
    """A confinement that is ready for sessions, one after the other."""

    def __init__(
        self, channel: Channel, role: Role, slot: int, memory_mb: int, quiet_s: float, family: Family = "python"
    ) -> None:
        self.channel = channel
        self.role = role
        self.family = family
        self.slot = slot
        self.memory_mb = memory_mb
        self.quiet_s = quiet_s
        self.sessions = 0
        self.fit = True
        """Whether another session may run here: False once it is lost, could not be cleaned, or has grown."""
        self._first_mb: float | None = None

    def settle(self, clean: bool, own_mb: float) -> None:
        """A session has ended: decide on the next."""
        if self._first_mb is None:
            self._first_mb = own_mb
        self.fit = clean and own_mb - self._first_mb <= GROWTH_MB

    def open(self, limits: Limits, capture_stdout: int, *, canary: bool = False) -> WorkerSession:
        """Begin the next session. Nothing is sent yet: the opening travels with the first message."""
        self.sessions += 1
        self.fit = False  # until the end is reported and clean
        packed = frames.LIMITS.pack(
            limits.cpu_s, limits.wall_s, limits.memory_mb, frames.MAX_MESSAGE, capture_stdout, canary
        )
        longest_s = WALL_PATIENCE * limits.wall_s + OVERDUE_S
        return WorkerSession(self, frames.frame(frames.OPEN, self.sessions, packed), longest_s)


class WorkerSession:
    """One job on one worker; see `sandboxes.sandbox.Session`."""

    def __init__(self, worker: Worker, opening: bytes, longest_s: float) -> None:
        self._worker = worker
        self._channel = worker.channel
        self._number = worker.sessions
        self._unsent = opening
        self._credit = frames.WINDOW
        self._buffer = bytearray()
        self._stdout: list[bytes] = []
        self._ending: Ending | None = None
        self._lost: ContainerLost | None = None
        self._overdue_at = asyncio.get_running_loop().time() + longest_s
        self._reading = asyncio.Lock()
        self._header: tuple[int, int, int] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come."""
        return self._ending is not None or self._lost is not None

    async def send(self, message: bytes) -> None:
        """Give the child a message; waits while it does not read. After its death this does nothing."""
        if self.ended:
            return
        header = frames.MESSAGE.pack(len(message))
        size = len(header) + len(message)
        if size <= self._credit:
            self._credit -= size
            await self._put(frames.frame(frames.DATA, self._number, header + message))
            return
        view = memoryview(header + message)
        while view and not self.ended:
            if self._credit == 0:
                await self._advance(lambda: self._credit > 0)
                continue
            piece = view[: min(self._credit, frames.CHUNK)]
            view = view[len(piece) :]
            self._credit -= len(piece)
            await self._put(frames.frame(frames.DATA, self._number, bytes(piece)))

    async def receive(self) -> bytes | None:
        """The child's next message, or None once it has ended."""
        await self._put(b"")
        await self._advance(self._has_message)
        if not self._has_message():
            if self._lost is not None:
                raise self._lost
            return None
        (length,) = frames.MESSAGE.unpack_from(self._buffer)
        message = bytes(self._buffer[frames.MESSAGE.size : frames.MESSAGE.size + length])
        del self._buffer[: frames.MESSAGE.size + length]
        return message

    async def finish(self, *, kill: bool = False) -> Ending:
        """Wait for the end (after killing, if asked) and for the cleaning, and report."""
        if kill and not self.ended and not self._unsent:
            # Its end is most often on its way already: a moment's patience is cheaper than another frame each way.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GRACE_S):
                    await self._advance(lambda: False)
        if not self.ended:
            await self._put(frames.frame(frames.KILL, self._number) if kill else b"")
            await self._advance(lambda: False)
        if self._ending is None:
            raise self._lost or ContainerLost("the session has no end")
        return self._ending

    # -- frames ---------------------------------------------------------------------------------------------------

    def _has_message(self) -> bool:
        size = frames.MESSAGE.size
        if len(self._buffer) < size:
            return False
        (length,) = frames.MESSAGE.unpack_from(self._buffer)
        return len(self._buffer) >= size + int(length)

    async def _put(self, data: bytes) -> None:
        if self._unsent:
            data, self._unsent = self._unsent + data, b""
        if not data or self.ended:
            return
        try:
            async with asyncio.timeout(self._worker.quiet_s):
                await self._channel.send(data)
        except ContainerLost as lost:
            self._lose(lost)
        except TimeoutError:
            self._lose(ContainerLost("the sandbox takes no input"))

    async def _advance(self, enough: Callable[[], bool]) -> None:
        """Read frames until there is enough of what is wanted, or the session has ended."""
        async with self._reading:
            while not self.ended and not enough():
                # Whatever stalls, and however lively its supervisor sounds: no session goes on for ever.
                left_s = self._overdue_at - asyncio.get_running_loop().time()
                if left_s <= 0:
                    self._lose(ContainerLost("the session did not end long after all its limits"))
                    return
                try:
                    async with asyncio.timeout(min(self._worker.quiet_s, left_s)):
                        await self._read_frame()
                except TimeoutError:
                    if left_s < self._worker.quiet_s:
                        continue
                    self._lose(ContainerLost(f"the sandbox's supervisor was silent for {self._worker.quiet_s:g} s"))
                except ContainerLost as lost:
                    self._lose(lost)
                except (struct.error, IndexError) as error:
                    self._lose(ContainerLost(f"malformed frame: {error}"))

    async def _read_frame(self) -> None:
        # A header that was read is kept until its payload is there: waiting for either may be cancelled by the user.
        if self._header is None:
            self._header = frames.HEADER.unpack(await self._channel.receive(frames.HEADER.size))
        kind, number, length = self._header
        if length > frames.WINDOW or (number != self._number and kind != frames.BEAT):
            raise ContainerLost(f"frame {kind} of {length} bytes for session {number}, not {self._number}")
        payload = await self._channel.receive(length) if length else b""
        self._header = None
        if kind == frames.DATA:
            self._buffer += payload
        elif kind == frames.STDOUT:
            self._stdout.append(payload)
        elif kind == frames.CREDIT:
            self._credit += frames.CREDITS.unpack(payload)[0]
        elif kind == frames.END:
            self._end(payload)
        elif kind != frames.BEAT:
            raise ContainerLost(f"frame of kind {kind}")

    def _end(self, payload: bytes) -> None:
        end, status, cpu_s, wall_s, peak_mb, own_mb, clean, length = frames.ENDING.unpack_from(payload)
        rest = payload[frames.ENDING.size :]
        self._ending = Ending(
            end=_ENDS[end],
            status=status,
            cpu_s=cpu_s,
            wall_s=wall_s,
            peak_mb=peak_mb,
            stdout=b"".join(self._stdout),
            stderr_tail=rest[length:].decode("utf-8", "replace"),
        )
        self._worker.settle(bool(clean), own_mb)

    def _lose(self, lost: ContainerLost) -> None:
        self._lost = lost
        self._worker.fit = False
