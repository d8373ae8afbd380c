"""Control groups for the `local` sandbox, where this process may make some.

With them memory and CPU time are the kernel's to count, as in the containers; without, the supervisor measures. Root
can make them on most machines, and so can a user to whom the session manager delegates a part of the tree. Version 1
has a tree for each controller, version 2 one for all. A group is a directory, a limit a file in it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

INSIDE = "/sys/fs/cgroup"
"""Where the supervisor finds its group: all of it in version 2, one directory a controller in version 1."""

_V1 = ("memory", "pids", "cpuacct")

_JANITOR = """
read _
n=0
while [ $n -lt 100 ]; do
  n=$((n+1)); left=
  for base in "$@"; do for group in "$base"*; do
    if [ -d "$group" ]; then rmdir "$group" 2>/dev/null || left=1; fi
  done; done
  [ -z "$left" ] && exit 0
  sleep 0.1
done
"""


@dataclass(frozen=True, slots=True)
class Group:
    """One confinement's group.

    Attributes:
        directories: By controller; version 2 has them all in one, under the name ``.
    """

    directories: dict[str, Path]

    @property
    def join(self) -> list[str]:
        """Files into which a process writes 0 to become a member."""
        return [str(directory / "cgroup.procs") for directory in self.directories.values()]

    @property
    def binds(self) -> list[list[str]]:
        """What to show inside, as [source, target]: nothing there can change a limit, since it is read-only."""
        if "" in self.directories:
            return [[str(self.directories[""]), INSIDE]]
        return [[str(self.directories[name]), f"{INSIDE}/{name}"] for name in ("memory", "cpuacct")]

    def limit(self, memory_mb: int, processes: int) -> None:
        """Set the limits, in any order that the kernel takes.

        Raises:
            OSError: It does not take them.
        """
        size = memory_mb << 20
        if "" in self.directories:
            group = self.directories[""]
            (group / "memory.max").write_text(str(size))
            with contextlib.suppress(FileNotFoundError):  # a kernel without swap accounting
                (group / "memory.swap.max").write_text("0")
            (group / "pids.max").write_text(str(processes))
            return
        memory = self.directories["memory"]
        both = memory / "memory.memsw.limit_in_bytes"  # memory and swap together may never be less than memory
        names = [memory / "memory.limit_in_bytes", *([both] if both.exists() else [])]
        if int(names[-1].read_text()) < size:
            names.reverse()
        for name in names:
            name.write_text(str(size))
        (self.directories["pids"] / "pids.max").write_text(str(processes))

    def remove(self) -> bool:
        """Remove it; False while something in it is alive."""
        for directory in self.directories.values():
            try:
                directory.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                return False
        return True


class Groups:
    """Makes groups, and sees to it that none is left, however this process ends."""

    def __init__(self, parents: dict[str, Path]) -> None:
        self.version = 2 if "" in parents else 1
        self._parents = parents
        self._prefix = f"mellum-eval-{os.getpid()}-{time.monotonic_ns():x}-"
        self._numbers = itertools.count()
        # It waits for the end of its stdin, which comes with our death, and removes what is left.
        self._janitor = subprocess.Popen(
            ["/bin/sh", "-c", _JANITOR, "sh", *(str(parent / self._prefix) for parent in parents.values())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def make(self, memory_mb: int, processes: int) -> Group:
        """A new group with these limits.

        Raises:
            OSError: The kernel does not allow it.
        """
        name = f"{self._prefix}{next(self._numbers)}"
        group = Group({controller: parent / name for controller, parent in self._parents.items()})
        for directory in group.directories.values():
            directory.mkdir()
        group.limit(memory_mb, processes)
        return group

    def close(self) -> None:
        """Let the janitor remove what is left. Waits for it."""
        if self._janitor.stdin is not None:
            self._janitor.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._janitor.wait(15)


def find() -> Groups | None:
    """Groups, where a trial shows that one can be made, limited and joined; None elsewhere. Never raises."""
    for parents in _candidates():
        groups = None
        try:
            groups = Groups(parents)
            _try(groups.make(64, 16))
            return groups
        except (OSError, ValueError):
            if groups is not None:
                groups.close()
    return None


def _try(group: Group) -> None:
    with subprocess.Popen(["sleep", "10"], stdin=subprocess.DEVNULL) as member:
        try:
            for procs in group.join:
                Path(procs).write_text(str(member.pid))
            for directory in group.directories.values():
                if str(member.pid) not in (directory / "cgroup.procs").read_text().split():
                    raise OSError(f"{directory} takes no member")
        finally:
            member.kill()


def _candidates() -> Iterator[dict[str, Path]]:
    """Parents under which a group might be made: our own group, then those above it."""
    mounts = _mounts()
    own = _own_groups()
    if "" in mounts:
        for parent in _upwards(mounts[""], own.get("", "/")):
            try:
                enabled = set((parent / "cgroup.subtree_control").read_text().split())
            except OSError:
                continue
            if {"memory", "pids"} <= enabled and os.access(parent, os.W_OK):
                yield {"": parent}
    if all(name in mounts for name in _V1):
        parents = {name: next(_upwards(mounts[name], own.get(name, "/"))) for name in _V1}
        if all(os.access(parent, os.W_OK) for parent in parents.values()):
            yield parents


def _upwards(mount: Path, group: str) -> Iterator[Path]:
    path = mount / group.lstrip("/")
    if not path.is_dir():  # seen from inside a container, whose mount shows its own part of the tree only
        path = mount
    yield path
    while path != mount:
        path = path.parent
        yield path


def _mounts() -> dict[str, Path]:
    """Writable mounts of control groups by controller, that of version 2 under the empty name."""
    found: dict[str, Path] = {}
    try:
        text = Path("/proc/self/mounts").read_text("utf-8", "surrogateescape")
    except OSError:
        return found
    for line in text.splitlines():
        _, point, kind, options, *_ = line.split(" ")
        if "rw" not in options.split(","):
            continue
        if kind == "cgroup2":
            found.setdefault("", Path(point))
        elif kind == "cgroup":
            for name in set(options.split(",")) & set(_V1):
                found.setdefault(name, Path(point))
    return found


def _own_groups() -> dict[str, str]:
    """Our own group by controller."""
    found = {}
    for line in Path("/proc/self/cgroup").read_text("utf-8", "surrogateescape").splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            found[name] = path
    return found
