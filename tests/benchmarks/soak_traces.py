"""What jobs have left on the engine's host: processes under users of jobs, and files in their containers' areas.

Looked at from outside, through the host's /proc: nothing inside a container is asked. Needs root.
"""

from __future__ import annotations

import os
from pathlib import Path

from sandboxes.engines.docker import AREAS_MB, uid_base
from sandboxes.sandbox import Role

USERS = 8192
"""Users of one harness; see `sandboxes.engines.docker.uid_base`."""
OURS = 3
"""Processes of a container at rest: supervisor, zygote, and the child that waits for the next session."""


def processes_left() -> list[str]:
    """Processes anywhere on this host that run under a user of this harness's jobs."""
    first = min(uid_base(role, 0) for role in Role)
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                uid = entry.stat().st_uid
                if first <= uid < first + USERS:
                    found.append(f"process {entry.name} of user {uid} is left: {(entry / 'cmdline').read_bytes()!r}")
            except OSError:
                continue
    return found


def container_traces(name: str, pid: int) -> list[str]:
    """Files in the areas of a container at rest, and processes in it beyond our own.

    Args:
        name: For the complaints.
        pid: Its process 1 as this host sees it.
    """
    found = []
    for area in (*AREAS_MB, "/dev/mqueue"):
        left = os.listdir(f"/proc/{pid}/root{area}")
        found += [f"container {name}: {area}/{file} is left" for file in left]
    inside = _tree(pid)
    if len(inside) > OURS:
        found.append(f"container {name}: {len(inside)} processes at rest, not {OURS}")
    return found


def _tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for thread in os.listdir(f"/proc/{pid}/task"):
        for child in Path(f"/proc/{pid}/task/{thread}/children").read_text("ascii").split():
            found += _tree(int(child))
    return found
