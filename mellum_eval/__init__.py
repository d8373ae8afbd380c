"""The harness: command line, run pipeline, backends, run store, statistics, rewards."""

from __future__ import annotations

__version__ = "0.1.0"
