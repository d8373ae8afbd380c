"""Pools over each engine, with a child program that runs what it is sent."""

from __future__ import annotations

from functools import partial

import pytest
from arena_jobs import PoolOf
from engines import EVERY_ENGINE, scripted_pool


@pytest.fixture(params=EVERY_ENGINE)
def engine_name(request: pytest.FixtureRequest) -> str:
    """Every test that asks for this runs under both engines."""
    return str(request.param)


@pytest.fixture
def pool_of(engine_name: str) -> PoolOf:
    """Makes a started pool of workers that run the Python source which they are sent."""
    return partial(scripted_pool, engine_name)
