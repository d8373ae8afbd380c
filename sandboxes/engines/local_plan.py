"""What the `local` sandbox's root is made of, and which ids live in it. Pure: looks at the host, changes nothing."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import stat
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal

from sandboxes.engines.local_cgroup import Group
from sandboxes.engines.local_launch import CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN
from sandboxes.engines.local_tools import Tools
from sandboxes.errors import SandboxUnavailable
from sandboxes.sandbox import Role

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

PACKAGES = {
    Role.ARENA: ("numpy",),
    Role.JUDGE: ("numpy", "math_verify", "latex2sympy2_extended", "sympy", "mpmath", "antlr4"),
}
"""Importable names beyond the standard library. Data sets' tests and candidates use numpy; math-verify the rest."""

_DISTRIBUTIONS = {"antlr4": "antlr4-python3-runtime", "math_verify": "math-verify"}

PACKAGE_HOME = "/opt/site-packages"

AREAS = (
    ("/work", 48 << 20, 8192),
    ("/tmp", 16 << 20, 8192),
    ("/dev/shm", 16 << 20, 8192),
)
"""Where a session can write: path, bytes, inodes."""

RLIMITS = {"RLIMIT_CORE": 0, "RLIMIT_NOFILE": 256, "RLIMIT_MEMLOCK": 65536, "RLIMIT_MSGQUEUE": 0}
"""Of everything inside; the zygote sets the limits that differ from session to session."""

_DEVICE_LINKS = [
    ["/proc/self/fd", "/dev/fd"],
    ["/proc/self/fd/0", "/dev/stdin"],
    ["/proc/self/fd/1", "/dev/stdout"],
    ["/proc/self/fd/2", "/dev/stderr"],
]

IDS_PER_WORKER = 1024
UID_BASE = 100
"""First id of sessions as seen inside; the supervisor is 0."""

_ROOT_BLOCK = 0x70000000
"""Where root takes host ids from: far above accounts and the ranges that distributions hand out."""


def interpreter() -> str:
    """The Python that runs inside: the one beneath any virtual environment, links resolved.

    Raises:
        SandboxUnavailable: It cannot be found.
    """
    path = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    if not os.access(path, os.X_OK):
        raise SandboxUnavailable(f"no Python interpreter at {path}", "reinstall Python or use Docker")
    return path


def binds(role: Role, python: str) -> tuple[list[list[str]], list[list[str]], list[str]]:
    """Host paths that are shown, read-only; links to make; and directories inside them that are hidden.

    Returns:
        [source, target] pairs, sources without links; [target of the link, path] pairs; hidden paths.
    """
    shown: dict[str, str] = {}
    links: list[list[str]] = []
    for name in ("/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/share/zoneinfo"):
        if os.path.isdir(name) and not os.path.islink(name):
            shown[name] = name
    for name in ("/bin", "/lib", "/lib32", "/lib64", "/usr/lib64"):
        if os.path.islink(name):
            links.append([os.readlink(name), name])
        elif os.path.isdir(name):
            shown[name] = name
    prefix = Path(os.path.realpath(sys.base_prefix))
    if prefix != Path("/usr"):
        for name in ("bin", "lib", "lib64"):
            directory = str(prefix / name)
            if os.path.islink(directory):
                links.append([os.readlink(directory), directory])
            elif os.path.isdir(directory):
                shown[directory] = directory
    if prefix.is_relative_to("/nix/store"):
        shown["/nix/store"] = "/nix/store"
    for name in ("/etc/ld.so.cache", "/etc/alternatives"):
        if os.path.exists(name):
            shown[name] = name
    if not any(python.startswith(target + "/") for target in shown):
        shown[python] = python
    hidden = sorted(
        str(path)
        for library in {str(prefix / "lib"), str(prefix / "lib64"), "/usr/lib"} & set(shown)
        for version in Path(library).glob("python[0-9]*")
        for path in (version / "site-packages", version / "dist-packages")
        if path.is_dir() and not path.is_symlink()
    )
    pairs = [[os.path.realpath(source), target] for target, source in sorted(shown.items())]
    for directory in _package_directories(PACKAGES[role]):
        pairs.append([os.path.realpath(directory), f"{PACKAGE_HOME}/{os.path.basename(directory)}"])
    return pairs, links, hidden


def _package_directories(names: tuple[str, ...]) -> list[str]:
    found: list[str] = []
    for name in names:
        spec = importlib.util.find_spec(name)
        for directory in (spec.submodule_search_locations or ()) if spec else ():
            found.append(directory)
            libraries = directory + ".libs"  # where wheels keep the shared libraries that they bring
            if os.path.isdir(libraries):
                found.append(libraries)
    for name in names if found else ():
        try:
            # Some ask for their own or another's version at import (latex2sympy2_extended for antlr4's).
            path = getattr(distribution(_DISTRIBUTIONS.get(name, name)), "_path", None)
        except PackageNotFoundError:
            continue
        if path is not None and Path(path).is_dir():
            found.append(str(path))
    return found


@dataclass(frozen=True, slots=True)
class Ids:
    """Whose ids live inside.

    Attributes:
        mode: `range`: sessions have ids of their own; `single`: only the caller's own could be mapped.
        outer: Map of the outer user namespace, None where root needs none.
        inner: Map of the inner one.
        user: The supervisor's uid and gid inside.
        uid_base: First id of sessions.
        uid_count: How many; 0 in mode `single`.
    """

    mode: Literal["range", "single"]
    outer: dict[str, Any] | None
    inner: dict[str, Any]
    user: int
    uid_base: int
    uid_count: int


def _map(
    by: Literal["kernel", "shadow"], lines: list[list[int]], gid_lines: list[list[int]] | None = None, **more: Any
) -> dict[str, Any]:
    return {"by": by, "uid_map": lines, "gid_map": gid_lines or lines, "setgroups": True, **more}


def privileged() -> bool:
    """Whether we may make namespaces and map ids without a user namespace of our own."""
    with open("/proc/self/status") as status:
        line = next(text for text in status if text.startswith("CapEff:"))
    needed = (1 << 21) | (1 << 7) | (1 << 6)  # SYS_ADMIN, SETUID, SETGID
    return os.geteuid() == 0 and int(line.split()[1], 16) & needed == needed


def choose_ids(slot: int, *, allow_range: bool = True) -> Ids:
    """Ids for one worker; different slots have different ones as far as there are enough.

    Args:
        slot: Number of the worker.
        allow_range: Tests force mode `single` with False.
    """
    n = IDS_PER_WORKER
    count = n - UID_BASE
    if privileged():
        uid, gid = _host_block("uid", slot), _host_block("gid", slot)
        if uid is None or gid is None:
            own = _map("kernel", [[0, 0, 1]]) | {"setgroups": False}
            return Ids("single", own, _single(), 1000, 1000, 0)
        if not _world_readable(interpreter()):
            raise SandboxUnavailable(
                f"the Python of {sys.base_prefix} can be read by its owner only, and sessions run under other ids",
                f"`chmod -R go+rX {sys.base_prefix}`, or run as the ordinary user who owns it",
            )
        if not allow_range:
            return Ids("single", None, _map("kernel", [[1000, uid, 1]], [[1000, gid, 1]]), 1000, 1000, 0)
        return Ids("range", None, _map("kernel", [[0, uid, n]], [[0, gid, n]]), 0, UID_BASE, count)
    me, group = os.geteuid(), os.getegid()
    tools = {name: shutil.which(name) for name in ("newuidmap", "newgidmap")}
    uid, gid = _subordinate("/etc/subuid", slot), _subordinate("/etc/subgid", slot)
    if allow_range and all(tools.values()) and uid is not None and gid is not None and _world_readable(interpreter()):
        outer = _map("shadow", [[0, me, 1], [1, uid, n]], [[0, group, 1], [1, gid, n]], **tools)
        return Ids("range", outer, _map("kernel", [[0, 1, n]]), 0, UID_BASE, count)
    own = _map("kernel", [[0, me, 1]], [[0, group, 1]]) | {"setgroups": False}
    return Ids("single", own, _single(), 1000, 1000, 0)


def processes_counted_with_ours(ids: Ids) -> int:
    """How many processes and threads the kernel counts against a session's RLIMIT_NPROC that are not the session's.

    Since Linux 5.14 those of other user namespaces are not: what is left are the supervisor, the zygote and the two
    processes above a session in a pid namespace. Before, with a single id, all that the user runs on the host is.
    """
    if ids.uid_count:
        return 0
    major, minor = (int(part) for part in os.uname().release.split(".")[:2])
    if (major, minor) >= (5, 14):
        return 4
    me = os.geteuid()
    count = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == me:
                    count += len(os.listdir(f"/proc/{name}/task"))
    return count + 64


def _single() -> dict[str, Any]:
    return _map("kernel", [[1000, 0, 1]]) | {"setgroups": False}


def _extents(kind: Literal["uid", "gid"]) -> list[tuple[int, int, int]]:
    """[inside, outside, count] of the user namespace that this process lives in."""
    with open(f"/proc/self/{kind}_map") as lines:
        return [(first, outside, count) for first, outside, count in (map(int, line.split()) for line in lines)]


def _host_block(kind: Literal["uid", "gid"], slot: int) -> int | None:
    """First of a worker's ids among those that this process's own user namespace has; None without enough."""
    n = IDS_PER_WORKER
    first, _, length = max(_extents(kind), key=lambda extent: extent[2])
    if first <= _ROOT_BLOCK and first + length >= _ROOT_BLOCK + 4096 * 64 * n:
        return _ROOT_BLOCK + ((os.getpid() % 4096) * 64 + slot % 64) * n
    blocks = (length - 1) // n  # a nested container: the far end of what it was given
    return None if blocks < 1 else first + length - n * (1 + slot % min(blocks, 64))


def _subordinate(path: str, slot: int) -> int | None:
    """First of a worker's ids in the caller's range of `/etc/subuid` or `/etc/subgid`; None without enough."""
    import pwd

    try:
        owners = {str(os.geteuid()), pwd.getpwuid(os.geteuid()).pw_name}
    except KeyError:
        owners = {str(os.geteuid())}
    try:
        text = Path(path).read_text("utf-8")
    except OSError:
        return None
    for line in text.splitlines():
        owner, _, rest = line.partition(":")
        first, _, length = rest.partition(":")
        if owner in owners and first.isdecimal() and length.isdecimal() and int(length) >= IDS_PER_WORKER:
            return int(first) + (slot % (int(length) // IDS_PER_WORKER)) * IDS_PER_WORKER
    return None


@cache
def _world_readable(python: str) -> bool:
    """Whether ids other than the caller's can run the interpreter: not where it was installed under umask 077."""
    return all(
        os.stat(path).st_mode & needed == needed
        for path, needed in ((python, stat.S_IROTH | stat.S_IXOTH), (os.__file__, stat.S_IROTH))
    )


def bwrap_command(bwrap: str, pairs: list[list[str]], links: list[list[str]]) -> list[str]:
    """Bubblewrap's part of the work: the namespaces and the binds. What it has no option for, `seal` does.

    It is started with all the rights it needs, as root or as uid 0 of the outer user namespace, so it makes no user
    namespace itself.
    """
    command = [bwrap, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    command += ["--as-pid-1", "--die-with-parent"]
    # Bubblewrap makes missing parents with mode 0700, and sessions run under other ids.
    targets = [*(target for _, target in pairs), *(path for _, path in links), *DEVICES]
    for directory in sorted({str(d) for target in targets for d in Path(target).parents} - {"/"}):
        command += ["--dir", directory]
    for source, target in pairs:
        command += ["--ro-bind", source, target]
    for target, path in links:
        command += ["--symlink", target, path]
    for device in DEVICES:
        command += ["--dev-bind", device, device]
    return [*command, "--proc", "/proc", "--chdir", "/"]


def plan(
    role: Role,
    ids: Ids,
    *,
    bwrap: str | None,
    seccomp: bytes,
    command: list[str],
    environment: dict[str, str],
    group: Group | None = None,
    tools: Tools | None = None,
) -> dict[str, Any]:
    """Everything that `local_launch` needs, ready for `json.dumps`.

    Args:
        role: Decides which packages are shown.
        ids: From `choose_ids`.
        bwrap: Bubblewrap's path; None to do its part ourselves.
        seccomp: The filter that everything inside lives under.
        command: What runs as process 1; its first word is replaced by the interpreter's full path.
        environment: The whole environment of it.
        group: The control group to join and to show inside.
        tools: What to show of a language's tools.
    """
    python = interpreter()
    pairs, links, hidden = binds(role, python)
    pairs += group.binds if group else []
    tools = tools or Tools()
    shown = {target for _, target in pairs}
    pairs += [[os.path.realpath(path), path] for path in tools.paths if path not in shown]
    links += _DEVICE_LINKS
    capabilities = [CAP_KILL, CAP_SETGID, CAP_SETUID] if ids.mode == "range" else [CAP_SYS_ADMIN]
    return {
        "parent": os.getpid(),
        "join": group.join if group else [],
        "python": python,
        "command": command,
        "environment": environment,
        "bwrap": bwrap_command(bwrap, pairs, links) if bwrap else [],
        "binds": pairs,
        "devices": DEVICES,
        "masks": hidden,
        "symlinks": links,
        "files": [["/etc/passwd", "root:x:0:0::/:/bin/false\n"], ["/etc/group", "root:x:0:\n"]],
        "areas": AREAS,
        "executable": [AREAS[0][0]] if tools.executes else [],
        "outer": ids.outer,
        "inner": ids.inner,
        "user": ids.user,
        "capabilities": capabilities,
        "rlimits": RLIMITS,
        "seccomp": seccomp.hex(),
    }
