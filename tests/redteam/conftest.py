"""One sandbox per engine for the attacks: what one attack leaves behind must not help or hurt the next."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandboxes.choose import open_sandbox
from sandboxes.errors import SandboxUnavailable
from sandboxes.pool import SandboxPool


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.docker), "local"])
def engine_name(request: pytest.FixtureRequest) -> str:
    """Every attack is tried on both engines."""
    return str(request.param)


@pytest_asyncio.fixture
async def sandbox(engine_name: str) -> AsyncIterator[SandboxPool]:
    """A pool of two workers on that engine."""
    try:
        pool = await open_sandbox("docker" if engine_name == "docker" else "local", workers=2)
    except SandboxUnavailable as missing:
        if engine_name == "docker" and os.environ.get("MELLUM_REQUIRE_DOCKER") != "1":
            pytest.skip(str(missing))
        raise
    async with pool:
        yield pool
