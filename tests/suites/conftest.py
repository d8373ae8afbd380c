"""A sandbox under each engine, and a cache of the test's own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from sandboxes.choose import Choice, open_sandbox
from sandboxes.errors import SandboxUnavailable
from sandboxes.pool import SandboxPool


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.docker), "local"])
async def pool(request: pytest.FixtureRequest) -> AsyncIterator[SandboxPool]:
    """Two workers of each role; skipped where the engine is missing, failed where it must be there."""
    try:
        made = await open_sandbox(cast("Choice", request.param), 2)
    except SandboxUnavailable as missing:
        if request.param == "docker" and os.environ.get("MELLUM_REQUIRE_DOCKER") != "1":
            pytest.skip(str(missing))
        raise
    async with made:
        yield made


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "mellum-eval"
