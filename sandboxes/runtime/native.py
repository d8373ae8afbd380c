"""Compiles and runs programs of other languages than ours: the arena's child turns into what it is told to run.

Jobs, as tuples. `("build", files, steps, keeps, environment)` runs the compiler's commands one after the other and
sends one message: `F`, a status and the compiler's words where one failed, or `B` and a bundle of the files to keep.
`("run", files, bundle, command, environment, stdin)` writes files and a bundle out and becomes the command: nothing of
this interpreter is left for it to find, and its exit status is the session's. A message comes only if that cannot be.

A bundle is opened nowhere but in here, by another session of the same program: the harness keeps it as bytes.
"""

from __future__ import annotations

import builtins
import errno
import glob
import os
import resource
import signal
import stat
import struct
from typing import Any

from sandboxes.runtime import wire
from sandboxes.runtime.codec import encode, loads
from sandboxes.runtime.program import feed

__builtins__ = dict(vars(builtins))  # type: ignore[assignment]  # ours alone: a candidate may replace names

WORDS = 16_000
"""Bytes of a compiler's output that are kept: the first ones, since later errors follow from earlier ones."""
STACK_MB = 64
BUNDLE = 48 << 20
"""Bytes in a bundle; a work area holds as much."""

_STATUS = struct.Struct("<i")
MISSING = 127
"""Status of a step whose command is not there."""


def build(job: tuple[Any, ...], outbox: int) -> None:
    """Compile, say how it went, and leave."""
    _, files, steps, keeps, environment = job
    _write(files)
    for step in steps:
        status, words = _step(step, environment)
        if status:
            wire.send(outbox, b"F" + _STATUS.pack(status) + words)
            return
    kept, room = [], BUNDLE
    for name in sorted({name for pattern in keeps for name in glob.glob(pattern, recursive=True)}):
        piece = _read(name, room)
        if piece is None:
            continue
        room -= len(piece[2])
        if room < 0:
            wire.send(outbox, b"F" + _STATUS.pack(1) + b"what was compiled is too large to keep")
            return
        kept.append(piece)
    wire.send(outbox, b"B" + encode(kept))


def run(job: tuple[Any, ...], outbox: int) -> None:
    """Become the command. Returns only if that failed, after saying so."""
    _, files, bundle, command, environment, stdin = job
    try:
        _write(files)
        for name, mode, data in loads(bundle) if bundle else ():
            _put(name, data, mode)
        feed(stdin)
        _ready()
        os.set_inheritable(outbox, False)
        for fd in (3, 4):
            os.set_inheritable(fd, False)
        os.execvpe(command[0], command, {**os.environ, **environment})
    except OSError as error:
        code = errno.errorcode.get(error.errno or 0, "?")
        wire.send(outbox, b"F" + _STATUS.pack(MISSING) + f"{command[0]}: {error.strerror} ({code})".encode())


def _ready() -> None:
    """What this interpreter has of its own and an exec would hand on."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    stack = STACK_MB << 20 if hard == resource.RLIM_INFINITY else min(hard, STACK_MB << 20)
    resource.setrlimit(resource.RLIMIT_STACK, (stack, hard))


def _step(step: list[str], environment: dict[str, str]) -> tuple[int, bytes]:
    """Run one command to its end; its status and its words. The supervisor holds it to the session's limits."""
    ours, theirs = os.pipe()
    try:
        pid = os.posix_spawnp(
            step[0],
            step,
            {**os.environ, **environment},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, theirs, 1),
                (os.POSIX_SPAWN_DUP2, theirs, 2),
            ],
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )
    except OSError as error:
        return MISSING, f"{step[0]}: {error.strerror}".encode()
    os.close(theirs)
    words = bytearray()
    while piece := os.read(ours, 65536):
        words += piece[: WORDS - len(words)]
    os.close(ours)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), bytes(words)


def _write(files: list[tuple[str, bytes]]) -> None:
    for name, data in files:
        _put(name, data, 0o600)


def _put(name: str, data: bytes, mode: int) -> None:
    directory = os.path.dirname(name)
    if directory:
        os.makedirs(directory, exist_ok=True)
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def _read(name: str, room: int) -> tuple[str, int, bytes] | None:
    """Name, mode and content of a regular file; None for what is none."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return None
        return name, stat.S_IMODE(status.st_mode), file.read(room + 1)
