"""The zygote: a warm interpreter that forks. It reads orders and descriptors, never a job or a reply.

The next session's child is forked ahead, as soon as the last one is cleaned up after: it rehearses a job of ours, so
that the pages it will write are its own already, and then waits for its order. It is forked after the last job and
before the next, so it is alive beside neither.

Each child inherits this process's memory, so nothing of any job may ever be in it: the supervisor, which does all
reading and writing, is another process, and children cannot look into either (their user is another one).
Single-threaded and blocking on purpose: while a child runs there is nothing else to do here.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from sandboxes.runtime import cleaner, echo, orders

# What answers to programming tasks import; a warm module costs each fork its page tables, so not the whole library.
WARM_MODULES = """
    abc array bisect cmath collections collections.abc contextlib copy dataclasses datetime decimal enum fractions
    functools hashlib heapq io itertools json math numbers operator random re statistics string struct textwrap time
    traceback types typing unicodedata
"""

INBOX, OUTBOX, CONTROL = 3, 4, 32
MIB = 1 << 20
OPEN_FILES = 256
REHEARSALS = 30
"""As many as CPython's adaptive interpreter needs to settle: bytecode that adapts writes to, so copies, pages."""
STACK_MB = 64  # the gap that the kernel left below the stack at exec is at least 128 MiB


def main(control: socket.socket, shipment: dict[str, Any]) -> None:
    """Warm up, then obey orders for ever. Never returns."""
    confinement = shipment["confinement"]
    # High up, so that a child's pipes arrive at the numbers they are to have; everything else of the supervisor's goes.
    high = fcntl.fcntl(control.detach(), fcntl.F_DUPFD_CLOEXEC, CONTROL)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.closerange(3, high)
    os.closerange(high + 1, OPEN_FILES)
    control = socket.socket(fileno=high)

    os.environ.clear()
    os.environ.update(shipment["environment"])
    child = importlib.import_module("sandboxes.runtime." + shipment["child"])
    for name in WARM_MODULES.split():
        importlib.import_module(name)
    warm = getattr(child, "warm", None)
    if warm is not None:
        warm()
    rehearse = getattr(child, "rehearse", None)
    if rehearse is not None:
        for _ in range(REHEARSALS):
            rehearse()
    if not confinement["uid_count"]:
        importlib.import_module("sandboxes.runtime.namespace")  # not in every zygote: it brings ctypes
    os.umask(0o022)
    baseline = _data_bytes()
    shipment.clear()
    gc.collect()
    gc.freeze()
    control.send(orders.REPORT.pack(orders.WARM, os.getpid(), 0, 0.0, 0, 0))
    while True:
        kind, uid, _, _, _, fds = receive(control)
        if kind == orders.BEGIN:
            # Its child was killed before it read this: the session was over as soon as it was opened.
            for fd in fds:
                os.close(fd)
            continue
        if kind == orders.SWEEP:
            control.send(orders.REPORT.pack(orders.SWEPT, 0, 0, 0.0, 0, sweep()))
            continue
        pid = os.fork()
        if pid == 0:
            status = 70
            try:
                if kind == orders.FORK:
                    _, uid, memory_mb, cpu_s, canary, fds = await_order(control, rehearse)
                    become(uid, fds, confinement, memory_mb, cpu_s, baseline)
                    (echo.serve if canary else child.serve)(INBOX, OUTBOX)
                    _flush()
                    status = 0
                else:
                    if confinement["uid_count"]:
                        _switch_user(uid)
                    status = 0 if cleaner.clean(confinement["areas"], confinement["work"]) else 71
            except BaseException:
                sys.excepthook(*sys.exc_info())
                _flush()
            finally:
                os._exit(status)
        if kind == orders.FORK:
            control.send(orders.REPORT.pack(orders.FORKED, pid, 0, 0.0, 0, 0))
        _, status, usage = os.wait4(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        alive = sweep() if kind == orders.FORK else 0
        cpu = usage.ru_utime + usage.ru_stime
        kind = orders.EXITED if kind == orders.FORK else orders.CLEANED
        control.send(orders.REPORT.pack(kind, pid, code, cpu, usage.ru_maxrss, alive))


def receive(control: socket.socket) -> tuple[int, int, int, float, int, list[int]]:
    """The next order: its fields, and the descriptors that came with it."""
    record, fds, _, _ = socket.recv_fds(control, orders.ORDER.size, 4)
    if not record:
        os._exit(0)
    kind, uid, memory_mb, cpu_s, canary = orders.ORDER.unpack(record)
    return kind, uid, memory_mb, cpu_s, canary, fds


def await_order(
    control: socket.socket, rehearse: Callable[[], None] | None
) -> tuple[int, int, int, float, int, list[int]]:
    """In the child: get ready for a session, and wait for its order.

    What fails here is no answer's doing: it takes the zygote down, so that the session counts as lost.
    """
    try:
        if rehearse is not None:
            rehearse()
        return receive(control)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os.kill(os.getppid(), signal.SIGKILL)
        raise


def sweep() -> int:
    """SIGKILL everything but the supervisor and the zygote; 1 if there was anything.

    One system call does it under the kernel's task lock, so that no fork slips through, and whoever is hit cannot hit
    back: our user is not theirs. Zombies that the supervisor has not reaped yet count as alive.
    """
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return 1


def become(uid: int, fds: list[int], confinement: dict[str, Any], memory_mb: int, cpu_s: float, baseline: int) -> None:
    """Turn this freshly forked process into a session's: descriptors, limits, user, directory."""
    os.setsid()
    if not confinement["uid_count"]:
        sys.modules["sandboxes.runtime.namespace"].enter(confinement["seccomp"])
    inbox, outbox, err = fds[:3]
    if len(fds) > 3:
        os.dup2(fds[3], 1)
    os.dup2(err, 2)
    if (inbox, outbox) != (INBOX, OUTBOX):
        inbox, outbox = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, CONTROL) for fd in (inbox, outbox))
        os.dup2(inbox, INBOX, inheritable=False)
        os.dup2(outbox, OUTBOX, inheritable=False)
    os.closerange(OUTBOX + 1, OPEN_FILES)
    limit = resource.setrlimit
    cpu = int(cpu_s) + 2  # a backstop only: the supervisor's ticks measure the whole tree, and finer
    limit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    data = baseline + memory_mb * MIB * confinement["mapped"]
    limit(resource.RLIMIT_DATA, (data, data))
    limit(resource.RLIMIT_NPROC, (confinement["max_processes"],) * 2)
    limit(resource.RLIMIT_FSIZE, (confinement["max_file_mb"] * MIB,) * 2)
    limit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    stack = STACK_MB * MIB if hard == resource.RLIM_INFINITY else min(hard, STACK_MB * MIB)
    limit(resource.RLIMIT_STACK, (stack, stack))
    if confinement["uid_count"]:
        score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(score, b"1000")
        os.close(score)
        _switch_user(uid)
    job = confinement["work"] + "/job"
    os.mkdir(job, 0o700)
    os.chdir(job)


def _switch_user(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass


def _data_bytes() -> int:
    """What RLIMIT_DATA already counts of this process; a child starts with as much."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return 0
