"""The process that becomes a `local` confinement: namespaces, a read-only root, no capabilities to spare, seccomp.

Run as a program of its own (`python -I -S local_launch.py`), because what it does to itself cannot be undone: `confine`
on the host, and with bubblewrap as maker once more, as `seal`, inside. Standard library only.

There are two user namespaces, one in the other. The outer one (or the initial one, where root starts us) owns the
mount, pid, network, ipc and uts namespaces and makes the mounts; the inner one is entered last and owns nothing, so
not even its uid 0 can undo a mount. Its ids belong to nobody on the host: neither to root nor to the user.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
from typing import Any, NoReturn

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 1, 22, 24, 38, 47
PR_CAP_AMBIENT_RAISE = 2
SECCOMP_MODE_FILTER = 2

CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN = 5, 6, 7, 21

FAILED = 97
"""Exit status where the confinement could not be made; stderr has one line that says why."""

_KEPT_FLAGS = {
    "nosuid": MS_NOSUID,
    "nodev": MS_NODEV,
    "noexec": MS_NOEXEC,
    "noatime": 1024,
    "nodiratime": 2048,
    "relatime": 1 << 21,
}

_libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """A step that the kernel did not allow."""


def _call(what: str, result: int) -> None:
    if result == -1:
        raise Refused(f"{what}: {os.strerror(ctypes.get_errno())}")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    texts = [None if t is None else os.fsencode(t) for t in (source, target, kind)]
    done = _libc.mount(*texts, ctypes.c_ulong(flags), None if data is None else data.encode())
    _call(f"mount {kind or source} on {target}", done)


def _prctl(what: str, *arguments: int) -> None:
    padded = [*arguments, 0, 0, 0][:5]
    _call(f"prctl {what}", _libc.prctl(*(ctypes.c_ulong(a) for a in padded)))


def _mounts() -> list[tuple[str, set[str]]]:
    """Mount points of this namespace, oldest first, with their flags."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        fields = [line.split(" ") for line in lines]
    return [(f[4].encode("latin-1", "surrogateescape").decode("unicode_escape"), set(f[5].split(","))) for f in fields]


def enter_user_namespace(ids: dict[str, Any]) -> None:
    """Unshare the user namespace; a helper left outside writes the maps, since only it may.

    Args:
        ids: `uid_map` and `gid_map`, lists of [inside, outside, count]; `by`: `kernel` writes them to `/proc`,
            `shadow` asks newuidmap and newgidmap; `setgroups`: whether groups may be changed inside.
    """
    me = os.getpid()
    wait_r, wait_w = os.pipe()
    helper = os.fork()
    if helper == 0:
        status = 1
        try:
            os.close(wait_w)
            if os.read(wait_r, 1):
                _write_maps(me, ids)
                status = 0
        except (OSError, subprocess.SubprocessError) as e:
            os.write(2, f"local sandbox: id maps: {e}\n".encode())
        finally:
            os._exit(status)
    os.close(wait_r)
    try:
        _call("unshare user namespace", _libc.unshare(CLONE_NEWUSER))
        os.write(wait_w, b"!")
    finally:
        os.close(wait_w)
        _, status = os.waitpid(helper, 0)
    if status:
        raise Refused("the user and group ids could not be mapped")


def _write_maps(pid: int, ids: dict[str, Any]) -> None:
    if ids["by"] == "shadow":
        for tool, lines in (("newuidmap", ids["uid_map"]), ("newgidmap", ids["gid_map"])):
            numbers = [str(n) for line in lines for n in line]
            subprocess.run([ids[tool], str(pid), *numbers], check=True, stdin=subprocess.DEVNULL, stdout=2)
        return
    if not ids["setgroups"]:
        with open(f"/proc/{pid}/setgroups", "w") as f:
            f.write("deny")
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{pid}/{name}", "w") as f:
            f.write("\n".join(" ".join(map(str, line)) for line in ids[name]))


def confine(plan: dict[str, Any]) -> NoReturn:
    """On the host: make the namespaces and the root, by bubblewrap or by ourselves, and go on to `seal`."""
    # Whoever started us is dead already, or dies with us: nothing outlives the harness.
    _prctl("pdeathsig", PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != plan["parent"]:
        os._exit(FAILED)
    for procs in plan["join"]:
        with open(procs, "w") as f:
            f.write("0")
    if plan["outer"]:
        enter_user_namespace(plan["outer"])
        _prctl("pdeathsig", PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of credentials clears it
    if plan["bwrap"]:
        with open(__file__, encoding="utf-8") as f:
            source = f.read()
        seal_command = [plan["python"], "-I", "-S", "-B", "-c", source, "seal", json.dumps(plan)]
        os.execv(plan["bwrap"][0], [*plan["bwrap"], "--", *seal_command])
    _call(
        "unshare namespaces",
        _libc.unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS),
    )
    if _libc.unshare(CLONE_NEWCGROUP) == -1 and ctypes.get_errno() not in (errno.EINVAL, errno.EPERM):
        _call("unshare cgroup namespace", -1)
    child = os.fork()
    if child:
        for fd in (0, 1):  # the stream must end when process 1 does, not when we do
            os.close(fd)
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    _prctl("pdeathsig", PR_SET_PDEATHSIG, signal.SIGKILL)
    build_root(plan)
    seal(plan)


def build_root(plan: dict[str, Any]) -> None:
    """A new root on a tmpfs with the plan's binds; the old one goes."""
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    # On a directory that every host has; sources below it are still reached through the old root.
    _mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=4m,nr_inodes=4k,mode=0755")
    os.mkdir("/tmp/.old", 0o700)
    nr = {"x86_64": 155, "aarch64": 41}[os.uname().machine]  # pivot_root has no wrapper in the C library
    _call("pivot_root", _libc.syscall(ctypes.c_long(nr), b"/tmp", b"/tmp/.old"))
    os.chdir("/")
    os.makedirs("/proc", exist_ok=True)
    # While the old /proc is still in sight: without it a user namespace may not mount a new one.
    _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for source, target in plan["binds"]:
        _bind("/.old" + source, target)
    for target, path in plan["symlinks"]:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(target, path)
    for device in plan["devices"]:
        _touch(device)
        _mount("/.old" + device, device, None, MS_BIND)
        _mount("none", device, None, MS_REMOUNT | MS_BIND | MS_NOSUID)
    _call("umount old root", _libc.umount2(b"/.old", MNT_DETACH))
    os.rmdir("/.old")
    targets = [target for _, target in plan["binds"]]
    for point, flags in _mounts():
        if any(point == t or point.startswith(t + "/") for t in targets):
            # A user namespace may add flags to a mount it inherited, never take one away: keep what is there.
            kept = sum(bit for flag, bit in _KEPT_FLAGS.items() if flag in flags)
            _mount("none", point, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | kept)


def _bind(source: str, target: str) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        _touch(target)
    _mount(source, target, None, MS_BIND | MS_REC)


def _touch(path: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


def seal(plan: dict[str, Any]) -> NoReturn:
    """As process 1 inside: the rest of the root, the inner user namespace, privileges away, and the supervisor."""
    os.umask(0o022)
    _furnish(plan)
    _loopback_up()
    socket.sethostname("sandbox")
    _check_read_only(plan)

    enter_user_namespace(plan["inner"])
    if plan["inner"]["setgroups"]:
        os.setgroups([])
    user = plan["user"]
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    _forbid_user_namespaces()
    _drop_capabilities(plan["capabilities"], ambient=user != 0)
    for name, most in plan["rlimits"].items():
        number = getattr(resource, name)
        hard = resource.getrlimit(number)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(number, (value, value))
    _prctl("no_new_privs", PR_SET_NO_NEW_PRIVS, 1)
    _load_seccomp(bytes.fromhex(plan["seccomp"]))
    _prctl("pdeathsig", PR_SET_PDEATHSIG, signal.SIGKILL)
    os.closerange(3, 65536)
    os.chdir("/")
    # argv[0] is the full path: Python finds its library by it.
    os.execve(plan["python"], [plan["python"], *plan["command"][1:]], plan["environment"])


def _furnish(plan: dict[str, Any]) -> None:
    for path in plan["masks"]:
        if os.path.isdir(path):
            flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
            _mount("tmpfs", path, "tmpfs", flags, "size=4k,nr_inodes=2,mode=0755")
    for path, text in plan["files"]:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
    for point, _ in reversed(_mounts()):
        if point.startswith("/proc/"):
            # Bubblewrap covers parts of /proc, where they are root's and ours is not; and where anything is covered
            # no further /proc can be mounted in a user namespace, which a session's pid namespace needs.
            _call(f"umount {point}", _libc.umount2(os.fsencode(point), 0))
    owner = plan["inner"]["uid_map"][0][1], plan["inner"]["gid_map"][0][1]
    for path, size, inodes in plan["areas"]:
        os.makedirs(path, exist_ok=True)
        data = f"size={size},nr_inodes={inodes},mode=1777,uid={owner[0]},gid={owner[1]}"
        runs = 0 if path in plan["executable"] else MS_NOEXEC
        _mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV | runs, data)
    _mount("none", "/", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


def _loopback_up() -> None:
    """As containers have it: programs that talk to themselves work."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sh14x", b"lo", 0x1 | 0x40)  # IFF_UP | IFF_RUNNING
        fcntl.ioctl(s, 0x8914, request)  # SIOCSIFFLAGS


def _check_read_only(plan: dict[str, Any]) -> None:
    """Whoever made the root: nothing but the work areas may be writable."""
    writable = {path for path, _, _ in plan["areas"]} | set(plan["devices"]) | {"/proc"}
    last = dict(_mounts())  # of mounts on one point the last is the one that is seen
    wrong = [point for point, flags in last.items() if "ro" not in flags and point not in writable]
    if wrong:
        raise Refused(f"{wrong[0]} is still writable")
    if missing := [path for path in writable if path not in last]:
        raise Refused(f"{missing[0]} is not mounted")


def _forbid_user_namespaces() -> None:
    """A second lock beside the seccomp filter; read-only where bubblewrap covered `/proc/sys`."""
    try:
        with open("/proc/sys/user/max_user_namespaces", "w") as f:
            f.write("0")
    except OSError:
        pass


def _drop_capabilities(kept: list[int], *, ambient: bool) -> None:
    with open("/proc/sys/kernel/cap_last_cap") as f:
        last = int(f.read())
    for capability in range(last + 1):
        if capability not in kept:
            _prctl("drop capability", PR_CAPBSET_DROP, capability)
    bits = sum(1 << capability for capability in kept)
    low, high = bits & 0xFFFFFFFF, bits >> 32
    inheritable = (low, high) if ambient else (0, 0)
    header = ctypes.create_string_buffer(struct.pack("<Ii", 0x20080522, 0))
    data = ctypes.create_string_buffer(struct.pack("<6I", low, low, inheritable[0], high, high, inheritable[1]))
    _call("capset", _libc.capset(header, data))
    if ambient:  # only uid 0 keeps its capabilities over an exec
        for capability in kept:
            _prctl("ambient", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def _load_seccomp(program: bytes) -> None:
    filters = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(filters))
    buffer = ctypes.create_string_buffer(fprog, len(fprog))
    _prctl("seccomp", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(buffer))


def main(step: str, plan: dict[str, Any]) -> NoReturn:
    """Run one step; where it fails, one line on stderr."""
    try:
        if step == "confine":
            confine(plan)
        seal(plan)
    except (OSError, Refused) as e:
        os.write(2, f"local sandbox: {e}\n".encode())
        os._exit(FAILED)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
