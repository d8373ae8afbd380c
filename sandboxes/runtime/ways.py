"""The two ways to the harness: the stream that the engine attached, and a socket of ours that it may take.

An engine carries each byte of the stream through processes of its own. A harness that may look into this process copies
the offered end of a pair of sockets out of it instead, and speaks through that. The way it speaks by first stays.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from sandboxes.runtime import frames
from sandboxes.runtime.loop import Loop

STDIN, STDOUT = 0, 1


class Ways:
    """Reads from both until one is taken. The process ends when the harness goes away."""

    def __init__(self, loop: Loop, take_in: Callable[[bytes], None]) -> None:
        """Watch both; after the zygote was forked, so that no child has the sockets.

        Args:
            loop: Watches.
            take_in: Is given the bytes that come in.
        """
        self._loop = loop
        self._take_in = take_in
        self.out = STDOUT
        """Where to write; does not block."""
        os.set_blocking(STDOUT, False)
        self._door, self._offered = (end.detach() for end in socket.socketpair())
        os.set_blocking(self._door, False)
        loop.watch(STDIN, self._on_stdin)
        loop.watch(self._door, self._on_door)

    def offer(self) -> list[int]:
        """What the harness needs to know: our number of the descriptor, and the kernel's of the socket."""
        return [self._offered, os.fstat(self._offered).st_ino]

    def _on_stdin(self) -> None:
        data = os.read(STDIN, frames.CHUNK)
        if not data:
            os._exit(0)
        if self.out != STDOUT:
            raise ValueError("the harness speaks by two ways")
        if self._door in self._loop.handlers:
            self._loop.forget(self._door)
            os.close(self._door)
            os.close(self._offered)
        self._take_in(data)

    def _on_door(self) -> None:
        try:
            data = os.read(self._door, frames.CHUNK)
        except ConnectionResetError:  # it went away with frames of ours unread
            data = b""
        if not data:
            os._exit(0)
        if self.out == STDOUT:
            self.out = os.dup(self._door)  # each descriptor is watched for one thing only
            os.close(self._offered)  # with a copy of it left here, the harness's end would not be noticed
        self._take_in(data)
