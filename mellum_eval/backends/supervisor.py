"""Runs one server for as long as whoever started it lives: a program of its own, of the standard library only.

    python supervisor.py COMMAND...

Its standard input is a pipe that the harness holds open and never writes to. When the pipe ends, for the harness has
ended in whatever way (`kill -9` included), or a signal comes, the server is asked to end, and after a while it and all
that it started are killed: a model server is a tree of processes, and an orphan of it holds a GPU's memory for ever.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

GRACE_S = 15.0
LOOK_S = 0.1
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def descendants(pid: int) -> list[int]:
    """Processes below one; empty where there is no /proc."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The second field is the name, in brackets, and may hold anything.
            parents[int(entry.parent.name)] = int(entry.read_text("utf-8", "replace").rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue  # it has just ended
    found, fresh = [], [pid]
    while fresh:
        fresh = [child for child, parent in parents.items() if parent in fresh]
        found += fresh
    return found


def _end(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        server.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(GRACE_S)
    for _ in range(50):  # what is killed may just be starting another one
        left = [pid for pid in descendants(os.getpid()) if _kill(pid)]
        _reap(server)
        if not left:
            return
        time.sleep(0.02)


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _reap(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        return
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def main(command: list[str]) -> int:
    """Run it to its end, or to ours; its exit status."""
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: over.set())
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    held = os.dup(0)
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),  # no thread runs yet
    )

    def listen() -> None:
        while os.read(held, 1):
            pass
        over.set()

    threading.Thread(target=listen, daemon=True).start()
    while server.poll() is None and not over.wait(LOOK_S):
        pass
    _end(server)
    status = server.poll()
    return 1 if status is None else 128 - status if status < 0 else status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
