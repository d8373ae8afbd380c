"""Fixtures of the reports' tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_runs import MakeRun, run_maker


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes a run directory of a made-up model."""
    return run_maker(tmp_path)
