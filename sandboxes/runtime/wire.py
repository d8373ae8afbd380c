"""Messages between the harness and the child programs, and the records inside them.

A message is a kind (one byte) and a body. From the arena come `R`, the answers of calls, one record after the other,
in the order of the calls and in as many messages as it likes; `X`, the code could not be loaded; and `f`, one record
with a value in full that was sent as its digest before. A record is a status byte, a u32 length and that many bytes.
"""

from __future__ import annotations

import builtins
from os import read, write
from struct import Struct

__builtins__ = dict(vars(builtins))  # type: ignore[assignment]  # ours alone: a candidate may replace names

HEAD = Struct("<cI")
LENGTH = Struct("<I")
DIGEST = Struct("<Q32s")
"""Body of a `DIGEST_OF` record: how long the value's encoding is, and its SHA-256."""

VALUE = b"V"
"""A value, encoded."""
CHANGED = b"W"
"""The pair of a value and the arguments (args, kwargs) as the call has left them, encoded."""
DIGEST_OF = b"D"
"""A value too long to be sent unasked. Who sends the digest of the expected value knows the value."""
OPAQUE = b"O"
"""An object that cannot be sent; the body is its type's name."""
RAISED = b"E"
"""An exception: name, NUL, message."""
UNSENDABLE = b"U"
"""A value over the codec's caps; the body says which."""

SYNTAX, IMPORT, ENTRY = b"S", b"R", b"N"
"""Phases of loading that an `X` message names: the code does not compile, raises, or has no such entry point."""

DONE = b"E"
"""To the arena: nothing more is asked. Where there is nothing that could be, its child ends without being told."""

INLINE = 4096
"""Longest encoding of a result in `calls` that is sent without being asked for."""
LONGEST = 60 << 20
"""Longest encoding that is sent at all."""


def receive(fd: int) -> bytes | None:
    """The next message, or None at the end of the stream."""
    head = _take(fd, LENGTH.size)
    return None if head is None else _take(fd, LENGTH.unpack(head)[0])


def _take(fd: int, size: int) -> bytes | None:
    piece = read(fd, size)
    if len(piece) == size:
        return piece
    parts = bytearray(piece)
    while len(parts) < size:
        piece = read(fd, min(size - len(parts), 1 << 20))
        if not piece:
            return None
        parts += piece
    return bytes(parts)


def send(fd: int, message: bytes) -> None:
    """Write a message whole."""
    data = memoryview(LENGTH.pack(len(message)) + message)
    while data:
        data = data[write(fd, data) :]


def record(status: bytes, body: bytes) -> bytes:
    """One answer."""
    return HEAD.pack(status, len(body)) + body


def records(body: bytes | memoryview) -> list[tuple[bytes, bytes]]:
    """The answers in the body of an `R` or `f` message.

    Raises:
        ValueError: It is none.
    """
    found = []
    at, size = 0, len(body)
    while at < size:
        if size - at < HEAD.size:
            raise ValueError("a record ends too early")
        status, length = HEAD.unpack_from(body, at)
        at += HEAD.size
        if length > size - at:
            raise ValueError("a record ends too early")
        found.append((status, bytes(body[at : at + length])))
        at += length
    return found
