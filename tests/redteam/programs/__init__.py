"""Programs that share a process with their tests, language by language: cheats that solve nothing, and honest oddities.

The task is f(x) = x*x + 1, tested as MultiPL-E does. Each module has `LANGUAGES`: a language's tests, its cheats and its
honest programs. To the cheats of each come those of `carried.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attacks:
    """One language's programs."""

    tests: str
    cheats: Mapping[str, str]
    honest: Mapping[str, str]
    aimed: frozenset[str] = frozenset()
    """Cheats that the usual verifier (`naive.py`) does not believe either: tried all the same."""
