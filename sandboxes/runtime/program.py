"""Runs a candidate as a program: stdin from the job, stdout to the supervisor, an exit status of its own."""

from __future__ import annotations

import builtins
import os
import sys
from typing import Any

from sandboxes.runtime import wire
from sandboxes.runtime.solution import FILENAME, LoadError, describe, load, text_of

__builtins__ = dict(vars(builtins))  # type: ignore[assignment]  # ours alone: a candidate may replace names

PIPE = 65536
"""A pipe takes this much without a reader."""


def run(code: str, stdin: bytes, outbox: int) -> None:
    """Run it to its end and leave with its status. Never returns."""
    exit_now, flush = os._exit, _flush
    try:
        compile(text_of(code), FILENAME, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        wire.send(outbox, b"X" + wire.SYNTAX + describe(error))
        exit_now(1)
    os.close(outbox)  # nothing more is asked or believed
    feed(stdin)
    sys.stdin = os.fdopen(0, encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]
    status = 0
    try:
        load(code, "__main__")
    except LoadError as error:
        status = _status(error.__context__)
    try:
        import threading

        if len(threading.enumerate()) > 1:
            threading._shutdown()  # type: ignore[attr-defined]
        import atexit

        atexit._run_exitfuncs()
    except BaseException as error:
        status = _status(error)
    exit_now(flush(status))


def feed(stdin: bytes) -> None:
    """Make `stdin` what descriptor 0 reads."""
    if len(stdin) <= PIPE:
        theirs, ours = os.pipe()
        os.write(ours, stdin)
        os.close(ours)
    else:
        # No memfd: not every confinement has it.
        theirs = os.open(".stdin", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.unlink(".stdin")
        view = memoryview(stdin)
        while view:
            view = view[os.write(theirs, view) :]
        os.lseek(theirs, 0, os.SEEK_SET)
    os.dup2(theirs, 0)
    os.close(theirs)


def _status(error: BaseException | None) -> int:
    """The exit status that CPython gives a program which ends with this exception; says it on stderr."""
    if error is None:
        return 1
    if isinstance(error, SystemExit):
        code: Any = error.code
        if code is None:
            return 0
        if isinstance(code, int):
            return code & 0xFF
        sys.stderr.write(f"{code}\n")
        return 1
    sys.excepthook(type(error), error, error.__traceback__)
    return 1


def _flush(status: int) -> int:
    """CPython's own ending: 120 where stdout cannot be flushed."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        status = status or 120
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        pass
    return status
