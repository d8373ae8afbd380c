"""How long a run's two halves took, each as if it had been alone: what says whether they overlapped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Spans:
    """Clocks of one run, in seconds."""

    def __init__(self) -> None:
        """Start them."""
        self._start = self._now = time.monotonic()
        self._judging = 0
        self._judged_s = 0.0
        self._held_s = 0.0
        self._generated: float | None = None
        self._end: float | None = None

    @contextmanager
    def judging(self) -> Iterator[None]:
        """While an answer is judged; time in which several are counts once."""
        self._tick()
        self._judging += 1
        try:
            yield
        finally:
            self._tick()
            self._judging -= 1

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """While the reader of completions waits for the judges: that is no time of the model's."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._held_s += time.monotonic() - start

    def generated(self) -> None:
        """The last completion is there."""
        self._generated = time.monotonic()

    def end(self) -> None:
        """The last verdict is there."""
        self._end = time.monotonic()

    def _tick(self) -> None:
        now = time.monotonic()
        if self._judging:
            self._judged_s += now - self._now
        self._now = now

    def line(self) -> str:
        """For people: wall time, that of each half, and by how much the whole is longer than the longer half."""
        end = time.monotonic() if self._end is None else self._end
        wall = end - self._start
        generation = (self._generated or end) - self._start - self._held_s
        longer = max(generation, self._judged_s, 1e-9)
        return (
            f"{wall:.1f} s: generation {generation:.1f} s, verification {self._judged_s:.1f} s; "
            f"{wall / longer:.2f} × the longer"
        )
