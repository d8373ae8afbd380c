"""A sandbox under each engine, and a cache of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from engines import engine_called

from sandboxes.pool import SandboxPool


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.docker), "local"])
async def pool(request: pytest.FixtureRequest) -> AsyncIterator[SandboxPool]:
    """Two workers of each role."""
    async with SandboxPool(await engine_called(request.param), 2) as made:
        yield made


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "mellum-eval"
