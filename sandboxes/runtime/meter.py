"""What a session's process tree uses, read from /proc and, where it is ours alone, from the control group.

The process list is the confinement's own: whatever is neither the supervisor nor the zygote belongs to the session.
"""

from __future__ import annotations

import os
import time

TICK_HZ = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")

_CPU_FILES = ("/sys/fs/cgroup/cpuacct/cpuacct.usage", "/sys/fs/cgroup/cpu.stat")
_OOM_FILES = ("/sys/fs/cgroup/memory/memory.oom_control", "/sys/fs/cgroup/memory.events")


class Meter:
    """Readings of one confinement."""

    def __init__(self, zygote: int, *, cgroup: bool) -> None:
        self.mine = {str(os.getpid()), str(zygote)}
        self._zygote_clock = (~zygote << 3) | 2  # CLOCK_PROCESS_CPUTIME_ID of that process, as clock_getcpuclockid does
        self._cpu_file = _open_first(_CPU_FILES) if cgroup else None
        self._oom_file = _open_first(_OOM_FILES) if cgroup else None
        self._own = [os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC) for pid in sorted(self.mine)]
        self._zygote_rss = int(_stat(str(zygote))[21]) * PAGE

    @property
    def has_oom_counter(self) -> bool:
        """Whether memory kills are told apart from other kills for certain."""
        return self._oom_file is not None

    def own_mb(self) -> float:
        """Resident memory of the supervisor and the zygote, MiB: what must not grow from session to session."""
        return sum(int(os.pread(fd, 128, 0).split()[1]) for fd in self._own) * PAGE / (1 << 20)

    def processes(self) -> list[str]:
        """Process ids of the session, as strings."""
        return [name for name in os.listdir("/proc") if name.isdigit() and name not in self.mine]

    def live(self) -> tuple[float, int, int]:
        """CPU seconds of the live tree, its resident bytes beyond what each inherited, and the largest process's."""
        ticks = private = largest = 0
        for pid in self.processes():
            try:
                fields = _stat(pid)
            except OSError:
                continue
            ticks += sum(map(int, fields[11:15]))
            rss = int(fields[21]) * PAGE
            largest = max(largest, rss)
            private += max(0, rss - self._zygote_rss)
        return ticks / TICK_HZ, private, largest

    def delays(self) -> dict[str, float]:
        """Seconds that each thread of the session was ready to run and stood in line for a CPU, by its path in /proc.

        Empty where the kernel does not tell.
        """
        found = {}
        for pid in self.processes():
            try:
                for thread in os.listdir(f"/proc/{pid}/task"):
                    path = f"/proc/{pid}/task/{thread}/schedstat"
                    with open(path, "rb") as file:
                        found[path] = int(file.read().split()[1]) / 1e9
            except (OSError, IndexError, ValueError):
                continue
        return found

    def group_cpu(self) -> float | None:
        """CPU seconds that the group used, less the supervisor's and the zygote's own. None where it cannot be told.

        Catches what /proc misses: children of a process that ignores SIGCHLD vanish without a trace in its times.
        """
        if self._cpu_file is None:
            return None
        text = os.pread(self._cpu_file, 512, 0)
        second_version = text.startswith(b"usage_usec")
        used = int(text.split(None, 2)[1]) / 1e6 if second_version else int(text) / 1e9
        return used - time.process_time() - time.clock_gettime(self._zygote_clock)

    def oom_kills(self) -> int:
        """Memory kills in this group since its start."""
        if self._oom_file is None:
            return 0
        words = os.pread(self._oom_file, 512, 0).split()
        try:
            return int(words[words.index(b"oom_kill") + 1])
        except (ValueError, IndexError):
            return 0


def _stat(pid: str) -> list[str]:
    """Fields of /proc/PID/stat from the third on: the second, the name, may hold anything, brackets and spaces too."""
    fd = os.open("/proc/" + pid + "/stat", os.O_RDONLY)
    try:
        text = os.read(fd, 2048)
    finally:
        os.close(fd)
    if not text:
        raise ProcessLookupError(pid)
    return text[text.rindex(b")") + 2 :].decode("ascii").split()


def _open_first(paths: tuple[str, ...]) -> int | None:
    for path in paths:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
    return None
