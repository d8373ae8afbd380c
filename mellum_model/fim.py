"""Fill in the middle: the text around a gap, so that the model writes the gap.

Two orders: prefix first (PSM) and suffix first (SPM, what Mellum's editor plugins send). Other files of the project may
stand before, each under its path.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

PREFIX, SUFFIX, MIDDLE, FILENAME = "<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<filename>"
STOP = (PREFIX, SUFFIX, MIDDLE, FILENAME)
"""Generation of a middle ends where the model begins any of these."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A text with a gap."""

    prefix: str
    suffix: str
    middle: str = ""
    """What belongs there; empty when it is to be written."""
    path: str | None = None
    files: Sequence[tuple[str, str]] = ()
    """Other files: path and text."""

    def psm(self) -> str:
        """Prefix, suffix, middle."""
        return f"{self._context()}{PREFIX}{self.prefix}{SUFFIX}{self.suffix}{MIDDLE}{self.middle}"

    def spm(self) -> str:
        """Suffix, prefix, middle: the prefix stands right before what continues it."""
        return f"{self._context()}{SUFFIX}{self.suffix}{PREFIX}{self.prefix}{MIDDLE}{self.middle}"

    def _context(self) -> str:
        before = "".join(f"{FILENAME}{path}\n{text}" for path, text in self.files)
        return before + (f"{FILENAME}{self.path}\n" if self.path is not None else "")


def gap_in(text: str, rng: random.Random) -> Gap:
    """A text with a random gap: two cuts drawn uniformly over its characters."""
    begin, end = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
    return Gap(text[:begin], text[end:], text[begin:end])


def cut(text: str, rng: random.Random, *, spm_share: float = 0.5) -> str:
    """A training example: the text with a random gap, its middle moved to the end.

    Args:
        text: A document.
        rng: Two cuts are drawn uniformly over its characters.
        spm_share: How often the suffix comes first.
    """
    gap = gap_in(text, rng)
    return gap.spm() if rng.random() < spm_share else gap.psm()
