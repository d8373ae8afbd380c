"""Fixtures that several rooms' tests share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from suites.sources import DataSource

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The mirror of benchmark files: MELLUM_DATA_DIR, else `shared/bench_data` beside the checkout."""
    path = Path(os.environ.get("MELLUM_DATA_DIR") or ROOT.parent / "shared" / "bench_data")
    if not (path / "MANIFEST.csv").is_file():
        pytest.fail(f"no benchmark data at {path}: point MELLUM_DATA_DIR at a mirror")
    os.environ["MELLUM_DATA_DIR"] = str(path)
    return path


@pytest.fixture(scope="session")
def bfcl_wheel() -> Path:
    """The wheel with BFCL's simulated APIs: out of the cache, else by pip; skipped, and said so, where pip has none."""
    from suites.tools.bfcl_package import WHEEL

    return _fetched(WHEEL)


@pytest.fixture(scope="session")
def bm25_wheel() -> Path:
    """The wheel that ranks a memory's keys, likewise."""
    from suites.tools.bfcl_package import BM25

    return _fetched(BM25)


@pytest.fixture(scope="session")
def codeshield_wheel() -> Path:
    """The wheel with CodeShield's rules, likewise."""
    from suites.safety.cyberseceval import RULES

    return _fetched(RULES)


def _fetched(source: DataSource) -> Path:
    from suites.sources import SourceMissing, fetch, find

    try:
        return find(source) or fetch(source)
    except SourceMissing as missing:
        pytest.skip(str(missing))
