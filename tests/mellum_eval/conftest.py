"""Fixtures of this room's tests."""

from __future__ import annotations

from pipeline_fakes import fake_suites

__all__ = ["fake_suites"]
