"""The engines that tests run on, by name."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from arena_jobs import SCRIPTED

from sandboxes.engines.base import Engine
from sandboxes.engines.local import LocalEngine
from sandboxes.errors import SandboxUnavailable
from sandboxes.pool import SandboxPool
from sandboxes.sandbox import Role

LOCAL: dict[str, dict[str, Any]] = {
    "local": {},
    "local-bwrap": {"maker": "bwrap"},
    "local-unshare": {"maker": "unshare", "cgroup": False},
    "local-bwrap-one-id": {"maker": "bwrap", "allow_range": False, "cgroup": False},
    "local-unshare-one-id": {"maker": "unshare", "allow_range": False},
}
"""Who makes the namespaces, whether sessions have user ids of their own, and whether there are control groups."""


async def engine_called(name: str) -> Engine:
    """An engine that works here; else the test is skipped, or fails where it must be there."""
    if name in LOCAL:
        return LocalEngine(**LOCAL[name])
    from sandboxes.engines.docker import IMAGE, DockerEngine

    engine = DockerEngine(image=os.environ.get("MELLUM_SANDBOX_IMAGE", IMAGE))
    try:
        await engine.open()
    except SandboxUnavailable as missing:
        await engine.close()
        if os.environ.get("MELLUM_REQUIRE_DOCKER") == "1":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    return engine


EVERY_ENGINE = [pytest.param("docker", marks=pytest.mark.docker), *list(LOCAL)[1:]]
"""For parametrised fixtures: Docker, and the local engine in all its forms."""


@asynccontextmanager
async def scripted_pool(engine_name: str, workers: int = 1, **options: Any) -> AsyncIterator[SandboxPool]:
    """A started pool of workers that run the Python source which they are sent."""
    engine = await engine_called(engine_name)
    async with SandboxPool(engine, workers, children={r: "extra" for r in Role}, extra=SCRIPTED, **options) as pool:
        yield pool


def processes_below(pid: int) -> set[int]:
    """That process and its descendants, as the host sees them."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parents[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    below = {pid}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return below
