"""Pools over each engine, with a child program that runs what it is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio
from arena_jobs import PoolOf
from engines import EVERY_ENGINE, engine_called, scripted_pool

from sandboxes.pool import SandboxPool
from sandboxes.verify import Verifiers


@pytest.fixture(params=EVERY_ENGINE)
def engine_name(request: pytest.FixtureRequest) -> str:
    """Every test that asks for this runs under both engines."""
    return str(request.param)


@pytest.fixture
def pool_of(engine_name: str) -> PoolOf:
    """Makes a started pool of workers that run the Python source which they are sent."""
    return partial(scripted_pool, engine_name)


@pytest_asyncio.fixture(params=[pytest.param("docker", marks=pytest.mark.docker), "local"])
async def verifiers(request: pytest.FixtureRequest) -> AsyncIterator[Verifiers]:
    """Verifiers over a pool of two workers with the child programs that ship, on Docker and on what `local` chooses."""
    async with SandboxPool(await engine_called(request.param), 2) as pool:
        yield Verifiers(sandbox=pool)
