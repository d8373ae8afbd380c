"""A pid namespace for each session, where there is only one user id for all of them.

With ids of their own, sessions cannot touch the supervisor or the zygote, which belong to somebody else. Without, they
must not even see them: three processes stand for one. The outermost is the one that zygote and supervisor know; it ends
as the job ends. Below it is process 1 of the new namespace, without capabilities, whose death kills all that is in it.
Below that is the job, an ordinary process, so that signals mean to it what they mean elsewhere.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct

CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAP_AMBIENT = 1, 4, 22, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

_libc = ctypes.CDLL(None, use_errno=True)


def _call(what: str, result: int) -> None:
    if result == -1:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def enter(seccomp: str) -> None:
    """Returns only in the job: process 2 of a pid namespace of its own, with its own /proc and no capability.

    Args:
        seccomp: The job's filter, hexadecimal.
    """
    filters = bytes.fromhex(seccomp)
    _call("unshare", _libc.unshare(CLONE_NEWPID | CLONE_NEWNS))
    told, tell = os.pipe()
    first = os.fork()
    if first:
        os.close(tell)
        _stand_for(first, told)
    os.close(told)
    score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)  # inherited by the job, whose /proc is read-only
    os.write(score, b"1000")
    os.close(score)
    flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
    _call("mount", _libc.mount(b"proc", b"/proc", b"proc", ctypes.c_ulong(flags), None))
    _drop_capabilities()
    _load_seccomp(filters)
    _call("prctl", _libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0))
    # The job belongs to the same user: this keeps it from opening process 1's memory and descriptors.
    _call("prctl", _libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
    job = os.fork()
    if job:
        _reap_until(job, tell)
    os.close(tell)


def _stand_for(first: int, told: int) -> None:
    """End as the job does, holding nothing open."""
    os.dup2(told, 3)
    os.closerange(0, 3)
    os.closerange(4, 256)
    record = os.read(3, 4)
    _, end = os.waitpid(first, 0)  # the rest of the namespace is dead now
    status = struct.unpack("<i", record)[0] if len(record) == 4 else os.waitstatus_to_exitcode(end)
    if status < 0:
        if -status not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status & 0xFF)


def _reap_until(job: int, tell: int) -> None:
    """Process 1: bury orphans until the job itself is dead, then take everything down."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Python's handler would let the job interrupt this
    os.dup2(tell, 3)
    os.closerange(0, 3)
    os.closerange(4, 256)
    while True:
        pid, status = os.wait()
        if pid == job:
            break
    try:
        # Rather than by our own death, which would reap them uncounted: their CPU time is the session's.
        os.kill(-1, signal.SIGKILL)
        while True:
            os.wait()
    except (ProcessLookupError, ChildProcessError):
        pass
    os.write(3, struct.pack("<i", os.waitstatus_to_exitcode(status)))
    os._exit(0)


def _drop_capabilities() -> None:
    # The bounding set keeps what the launcher left in it: with NO_NEW_PRIVS nothing can be gained from it.
    _call("prctl", _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    header = ctypes.create_string_buffer(struct.pack("<Ii", 0x20080522, 0))
    nothing = ctypes.create_string_buffer(24)
    _call("capset", _libc.capset(header, nothing))


def _load_seccomp(filters: bytes) -> None:
    program = ctypes.create_string_buffer(filters, len(filters))
    head = struct.pack("HxxxxxxP", len(filters) // 8, ctypes.addressof(program))
    fprog = ctypes.create_string_buffer(head, len(head))
    _call("seccomp", _libc.prctl(PR_SET_SECCOMP, 2, ctypes.c_ulong(ctypes.addressof(fprog)), 0, 0))
