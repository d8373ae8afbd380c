"""Whether processes of the tests still live, as /proc has it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path


def alive(pids: Iterable[int]) -> set[int]:
    """Those of them that run; one that has ended and was not waited for does not."""
    found = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            found.add(pid)
    return found


def outlive(pids: Iterable[int], within_s: float) -> set[int]:
    """Those that still run after a while; empty as soon as none does."""
    deadline = time.monotonic() + within_s
    while (left := alive(pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left
