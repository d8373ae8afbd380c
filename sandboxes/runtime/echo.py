"""A child program that sends back what it is sent: the canary of a worker's health, and the floor of its speed."""

from __future__ import annotations

import os


def serve(inbox: int, outbox: int) -> None:
    """Send the first message back and end."""
    data = b""
    while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "little"):
        chunk = os.read(inbox, 65536)
        if not chunk:
            return
        data += chunk
    view = memoryview(data)
    while view:
        view = view[os.write(outbox, view) :]
