"""The reading half of a channel: bytes from a socket or pipe into a paced buffer, kept apart from the last words."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from sandboxes.engines.base import Confinement
from sandboxes.errors import ContainerLost

TAIL = 4000
WORDS_S = 1.0
BUFFER = 512 * 1024


class Inflow(asyncio.Protocol):
    """Feeds a StreamReader, which pauses the transport where nobody reads, and wakes writers when there is room."""

    def __init__(self, speaker: Inflow | None = None) -> None:
        """Not connected.

        Args:
            speaker: Whose last words are told when this one breaks off; its own if not given.
        """
        self.reader = asyncio.StreamReader(limit=BUFFER)
        self.words = b""
        self.spoken = asyncio.Event()
        """Set when no more words will come."""
        self._speaker = speaker or self
        self.transport: asyncio.Transport | None = None
        self._room = asyncio.Event()
        self._room.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio has the socket."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"a channel needs a two-way transport, not {type(transport).__name__}")
        self.transport = transport
        self.reader.set_transport(transport)

    def data_received(self, data: bytes) -> None:
        """Bytes of the supervisor's stdout."""
        self.reader.feed_data(data)

    def eof_received(self) -> bool:
        """The other side is done."""
        self.reader.feed_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed; readers get what is buffered and then the end."""
        self.reader.feed_eof()
        self._room.set()

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._room.clear()

    def resume_writing(self) -> None:
        """There is room again."""
        self._room.set()

    @property
    def alive(self) -> bool:
        """Whether neither side has closed the stream, as far as is known."""
        return self.transport is not None and not self.transport.is_closing() and not self.reader.at_eof()

    async def write(self, data: bytes) -> None:
        """Write, and wait while there is no room."""
        if self.transport is None or self.transport.is_closing():
            raise ContainerLost("the sandbox closed its stream" + self.last_words())
        self.transport.write(data)
        if not self._room.is_set():
            await self._room.wait()

    async def read(self, n: int) -> bytes:
        """Exactly `n` bytes."""
        try:
            return await self.reader.readexactly(n)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise ContainerLost("the sandbox went away" + self.last_words()) from error

    async def hear_out(self) -> None:
        """Wait for the last words, which may come by another way and in their own time; not for long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WORDS_S):
                await self._speaker.spoken.wait()

    def last_words(self) -> str:
        """`: ` and the tail of stderr, or nothing."""
        text = self._speaker.words.decode("utf-8", "replace").strip()
        return f": {text}" if text else ""


class StreamChannel:
    """What the channels of all engines share: a stream, and the confinement at its other end."""

    def __init__(self, inflow: Inflow, confinement: Confinement) -> None:
        self._inflow = inflow
        self._confinement = confinement
        self._dead = False

    @property
    def alive(self) -> bool:
        """Whether the stream stands."""
        return not self._dead and self._inflow.alive

    @property
    def confinement(self) -> Confinement:
        """What to tell the supervisor."""
        return self._confinement

    async def ready(self, hello: Mapping[str, Any]) -> None:
        """There is no other way to the supervisor than its stdin and stdout."""

    async def send(self, data: bytes) -> None:
        """Write to the supervisor's stdin."""
        await self._inflow.write(data)

    async def receive(self, n: int) -> bytes:
        """Read from the supervisor's stdout."""
        try:
            return await self._inflow.read(n)
        except ContainerLost:
            await self._inflow.hear_out()
            raise ContainerLost("the sandbox went away" + self._inflow.last_words()) from None

    def diagnosis(self) -> str:
        """Last words of its stderr."""
        return self._inflow.last_words().removeprefix(": ")


class Demultiplexed(Inflow):
    """For Docker's attach stream: chunks of stdout and stderr behind headers of eight bytes."""

    def __init__(self) -> None:
        super().__init__()
        self._pending = b""
        self._left = 0
        self._stdout = True

    def eof_received(self) -> bool:
        """The container is done, and has said all."""
        self.spoken.set()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The engine is gone."""
        self.spoken.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take the chunks apart, wherever they are cut."""
        if self._pending:
            data = self._pending + data
            self._pending = b""
        at = 0
        size = len(data)
        while at < size:
            if not self._left:
                if size - at < 8:
                    self._pending = data[at:]
                    return
                self._stdout = data[at] != 2
                self._left = int.from_bytes(data[at + 4 : at + 8], "big")
                at += 8
                continue
            piece = data[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            if self._stdout:
                self.reader.feed_data(piece)
            else:
                self.words = (self.words + piece)[-TAIL:]
