"""Progress of a run on stderr, where that is a terminal; elsewhere nothing is shown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mellum_eval.pipeline import Watcher
from mellum_eval.plan import PlannedSuite
from mellum_eval.records import Generation, Judgement

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@contextmanager
def progress() -> Iterator[Callable[[Sequence[PlannedSuite]], Watcher]]:
    """What makes the watcher once the plan is known."""
    if not sys.stderr.isatty():
        yield lambda planned: Watcher()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield lambda planned: _Bars(bars, sum(len(suite.questions) * suite.sampling.samples for suite in planned))


class _Bars(Watcher):
    def __init__(self, bars: Progress, total: int) -> None:
        self._bars = bars
        self._answers: TaskID = bars.add_task("answers", total=total)
        self._verdicts: TaskID = bars.add_task("verdicts", total=total)
        self._passed = self._ours = 0

    def generated(self, suite: str, generation: Generation) -> None:
        """One more answer."""
        self._bars.advance(self._answers)

    def judged(self, suite: str, judgement: Judgement) -> None:
        """One more verdict."""
        self._passed += judgement.outcome == "passed"
        self._ours += judgement.score is None
        ours = f", {self._ours} infra" if self._ours else ""
        self._bars.update(self._verdicts, advance=1, description=f"verdicts ({self._passed} passed{ours})")
