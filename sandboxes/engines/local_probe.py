"""The self-check of the `local` sandbox, from inside: what a candidate must not be able to do is tried, as a candidate.

Its source is shipped as a child program and runs in an ordinary arena session; see `local.LocalEngine.open`. Standard
library only.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import socket
import struct
from collections.abc import Iterator
from typing import Any

NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts")

CLONE_NEWUSER = 0x10000000


def serve(inbox: int, outbox: int) -> None:
    """Read what is known of the outside, try everything, and answer with a list of what is wrong."""
    size = struct.unpack("<I", _exactly(inbox, 4))[0]
    answer = json.dumps(list(violations(json.loads(_exactly(inbox, size))))).encode()
    os.write(outbox, struct.pack("<I", len(answer)) + answer)


def _exactly(fd: int, n: int) -> bytes:
    data = b""
    while len(data) < n:
        piece = os.read(fd, n - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def violations(outside: dict[str, Any]) -> Iterator[str]:
    """What is not confined, one line each.

    Args:
        outside: `paths` that must not be readable, `namespaces` by kind as `/proc/self/ns` shows them outside, `areas`
            as [path, bytes, inodes].
    """
    yield from _identity()
    yield from _files(outside["paths"], outside["areas"])
    yield from _processes(outside["namespaces"])
    yield from _network()
    yield from _calls()
    for name in ("RLIMIT_NPROC", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_CPU", "RLIMIT_NOFILE"):
        if resource.getrlimit(getattr(resource, name))[1] == resource.RLIM_INFINITY:
            yield f"there is no {name}"


def _identity() -> Iterator[str]:
    if 0 in (*os.getresuid(), *os.getresgid()):
        yield "sessions run as uid or gid 0"
    for become in (os.setresuid, os.setresgid):
        try:
            become(0, 0, 0)
        except OSError:
            continue
        yield f"{become.__name__} to 0 works"
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    wanted = {"Seccomp": "2", "NoNewPrivs": "1"} | {name: "0" * 16 for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")}
    for name, value in wanted.items():
        if status.get(name) != value:
            yield f"{name} is {status.get(name)}, not {value}"


def _files(forbidden: list[str], areas: list[Any]) -> Iterator[str]:
    for path in forbidden:
        if _readable(path):
            yield f"{path} can be read"
    for directory in ("/", "/usr/bin", "/usr/lib", "/etc", "/dev", "/opt", os.path.dirname(os.__file__)):
        path = os.path.join(directory, ".written")
        try:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        except OSError:
            continue
        yield f"{directory} can be written"
    for path, size, inodes in areas:
        usage = os.statvfs(path)
        if usage.f_blocks * usage.f_frsize > size or not 0 < usage.f_files <= inodes:
            yield f"{path} has no cap on its size or its number of files"
    devices = set(os.listdir("/dev")) - {"null", "zero", "full", "random", "urandom", "shm", "fd"}
    if devices - {"stdin", "stdout", "stderr"}:
        yield f"/dev holds {', '.join(sorted(devices))}"
    open_files = set(os.listdir("/proc/self/fd"))
    if not open_files <= {"0", "1", "2", "3", "4", "5"}:  # 5 is the listing itself
        yield f"descriptors {', '.join(sorted(open_files))} are open"


def _readable(path: str) -> bool:
    try:
        if os.path.isdir(path):
            return bool(os.listdir(path))
        with open(path, "rb"):
            return True
    except OSError:
        return False


def _processes(outside: dict[str, str]) -> Iterator[str]:
    for kind in NAMESPACES:
        try:
            if os.readlink(f"/proc/self/ns/{kind}") == outside[kind]:
                yield f"the {kind} namespace is the host's"
        except OSError as error:
            yield f"the {kind} namespace cannot be told: {error}"
    mine = {os.getpid(), os.getppid()}
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in mine:
            for file in ("mem", "environ", "maps"):
                if _readable(f"/proc/{name}/{file}"):
                    yield f"/proc/{name}/{file} can be opened"
            try:
                os.kill(int(name), 0)
            except OSError:
                continue
            yield f"process {name} can be signalled"


def _network() -> Iterator[str]:
    with open("/proc/net/dev", encoding="ascii") as file:
        devices = [line.split(":")[0].strip() for line in file if ":" in line]
    if devices != ["lo"]:
        yield f"there are network devices: {', '.join(devices)}"
    for family, address in ((socket.AF_INET, ("192.0.2.1", 53)), (socket.AF_INET6, ("2001:db8::1", 53))):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as s:
                s.connect(address)
        except OSError:
            continue
        yield f"there is a route to {address[0]}"


def _calls() -> Iterator[str]:
    libc = ctypes.CDLL(None, use_errno=True)
    attempts: dict[str, tuple[Any, ...]] = {
        "unshare": (CLONE_NEWUSER,),
        "mount": (b"none", b"/tmp", b"tmpfs", 0, None),
        "umount2": (b"/proc", 2),
        "ptrace": (16, 1, None, None),  # PTRACE_ATTACH to process 1
    }
    for name, arguments in attempts.items():
        if getattr(libc, name)(*arguments) != -1:
            yield f"{name} works"
        elif ctypes.get_errno() != errno.EPERM:
            yield f"{name} is not refused by the filter but with {errno.errorcode.get(ctypes.get_errno())}"
