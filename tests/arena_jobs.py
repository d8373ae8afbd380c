"""A child program for tests, shipped as the runtime module `extra`, and a way to run a job through it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from sandboxes.check import Limits
from sandboxes.pool import SandboxPool
from sandboxes.sandbox import Ending, Role

PoolOf = Callable[..., AbstractAsyncContextManager[SandboxPool]]
SMALL = Limits(cpu_s=5, wall_s=30, memory_mb=128)

SCRIPTED = """
import os, struct, sys
def read_exact(fd, n):
    data = b""
    while len(data) < n:
        piece = os.read(fd, n - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data
def receive(inbox):
    return read_exact(inbox, struct.unpack("<I", read_exact(inbox, 4))[0])
def send(outbox, message):
    view = memoryview(struct.pack("<I", len(message)) + message)
    while view:
        view = view[os.write(outbox, view):]
def serve(inbox, outbox):
    code = receive(inbox).decode()
    names = {"inbox": inbox, "outbox": outbox, "receive": lambda: receive(inbox), "send": lambda m: send(outbox, m)}
    exec(compile(code, "<job>", "exec"), names)
"""
"""Runs the Python source that its first message holds, with `receive`, `send` and the bare descriptors at hand."""


async def run(pool: SandboxPool, code: str, limits: Limits = SMALL, capture: int = 0) -> tuple[list[bytes], Ending]:
    """Messages and ending of a session that runs `code`."""
    said = []
    async with pool.session(Role.ARENA, limits, capture_stdout=capture) as session:
        await session.send(code.encode())
        while (message := await session.receive()) is not None:
            said.append(message)
        return said, await session.finish()
