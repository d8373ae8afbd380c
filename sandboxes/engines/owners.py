"""Who a container belongs to, written so that another process can tell whether its owner is alive."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path


def owner() -> str:
    """Names this process so that another can tell whether it is alive: world, process id and its start.

    A process id means something only within one process namespace of one boot of one machine, which is the world.
    """
    return f"{_world()}/{os.getpid()}/{_start_of(os.getpid())}"


def _world() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return f"{platform.node()}:"
    return f"{platform.node()}:{boot}:{namespace}"


def _start_of(pid: int) -> str:
    """Start time of a process in clock ticks since boot, '' where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


def is_dead(name: str) -> bool | None:
    """Whether the process that `owner` named is gone; None where it is of another world: that cannot be told."""
    world, _, rest = name.partition("/")
    pid, _, start = rest.partition("/")
    if world != _world() or not pid.isdigit():
        return None
    return _start_of(int(pid)) != start


def age_s(created: str) -> float:
    """Seconds since a time as the engine writes it, UTC, with more digits than Python reads."""
    made = datetime.strptime(created[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    return (datetime.now(UTC) - made).total_seconds()
