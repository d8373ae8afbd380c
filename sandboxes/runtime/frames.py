"""The frames between harness and supervisor, and the packed records in them. Both sides import this file.

A frame is a header (kind u8, session u32, length u32, little-endian) and `length` bytes. The harness opens a session,
streams the child's inbox as `DATA` and may `KILL`; the supervisor streams the child's outbox as `DATA` and its stdout
as `STDOUT`, and closes with exactly one `END`, after which nothing of that session follows. `DATA` is a stream of
length-prefixed messages cut at arbitrary places: neither relay ever holds a whole message.

Inbox bytes are paced by credit, so that the harness's pipe never stands full and a `KILL` always gets through: at most
`WINDOW` bytes may be under way, and the supervisor returns what the child took by `CREDIT` once it is worth a frame.
"""

from __future__ import annotations

import struct

HEADER = struct.Struct("<BII")
MESSAGE = struct.Struct("<I")

# harness -> supervisor
OPEN = 1
DATA = 2
KILL = 3
# supervisor -> harness (DATA too)
READY = 16
STDOUT = 17
CREDIT = 18
BEAT = 19
END = 20

WINDOW = 256 * 1024
"""Inbox bytes that may be under way, and the most that the supervisor holds in either direction."""

CHUNK = 64 * 1024
"""The most that one frame carries; a pipe's capacity."""

MAX_MESSAGE = 64 * 1024 * 1024
"""Default cap on one message of the child, bytes."""

BEAT_S = 2.0
"""While a session runs the supervisor is heard at least this often; silence means that it is frozen."""

LIMITS = struct.Struct("<ddIIQB")
"""Payload of `OPEN`: cpu_s, wall_s, memory_mb, max message bytes, bytes of stdout to capture, 1 for the canary."""

CREDITS = struct.Struct("<I")
"""Payload of `CREDIT`: inbox bytes that the child took."""

ENDING = struct.Struct("<BiddddBH")
"""Payload of `END`: end, status, cpu_s, wall_s, peak_mb, own_mb, clean, length of reason; then reason, stderr tail."""

# Ends, in the order of `sandboxes.sandbox.End`
EXITED = 0
CPU_LIMIT = 1
WALL_LIMIT = 2
MEMORY_LIMIT = 3
OVERSIZE = 4
PROTOCOL = 5
KILLED = 6


def frame(kind: int, session: int, payload: bytes = b"") -> bytes:
    """One frame, ready to be written."""
    return HEADER.pack(kind, session, len(payload)) + payload
