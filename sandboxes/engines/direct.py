"""The way past an engine's relays: a socket of the supervisor's own, copied out of its process.

An engine carries each byte of an attached container through two more processes, which a short job pays for with CPU
time. The supervisor opens a pair of sockets when it starts and says which of its descriptors is meant for us; whoever
may trace it (root, on the engine's own machine) gets a copy by `pidfd_getfd`. Others stay with the attached stream.

The container is confined as before: nothing is mounted, there is no path and no address, and no session has begun, so
that a candidate never meets a process that holds the other end but the supervisor, which it cannot look into.
"""

from __future__ import annotations

import ctypes
import os
import socket
import stat
from collections.abc import Mapping
from typing import Any

_PIDFD_GETFD = 438  # the same number on every architecture; Linux 5.6


def take(pid: int, hello: Mapping[str, Any]) -> socket.socket | None:
    """The socket that a supervisor offers in what it says when it is ready; None where it cannot be had.

    Args:
        pid: The supervisor as this machine counts processes.
        hello: What it said; `door` is the descriptor's number in its process and the socket's in the kernel.
    """
    try:
        number, inode = (int(field) for field in hello["door"])
        process = os.pidfd_open(pid)
    except (AttributeError, KeyError, TypeError, ValueError, OSError):
        return None
    try:
        taken = int(ctypes.CDLL(None).syscall(_PIDFD_GETFD, process, number, 0))
    finally:
        os.close(process)
    if taken < 0:
        return None
    # A process id may mean another process here: the engine may be another machine's. The kernel numbers each socket
    # once, so this is the one that was offered or it is nobody's business of ours.
    found = os.fstat(taken)
    if not stat.S_ISSOCK(found.st_mode) or found.st_ino != inode:
        os.close(taken)
        return None
    door = socket.socket(fileno=taken)
    door.setblocking(False)
    return door
