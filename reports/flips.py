"""Problems that two runs judged differently, side by side: what was asked, both answers, both verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mellum_eval.records import Judgement
from mellum_eval.store import RunStore
from reports.comparing import SuiteComparison
from reports.run import Run
from reports.samples import sample_data


@dataclass(frozen=True, slots=True)
class Flip:
    """One problem. `a` and `b` are answers as the samples of a report are; None where a run's cannot be found."""

    suite: str
    problem: str
    gained: bool
    a: dict[str, Any] | None
    b: dict[str, Any] | None


def flips(a: Run, b: Run, rows: Iterable[SuiteComparison], limit: int) -> list[Flip]:
    """At most `limit` problems of each suite in each direction, the largest differences first.

    Raises:
        UserError: A run's records cannot be read.
    """
    wanted = [
        (row.name, problem, gained)
        for row in rows
        for gained, problems in ((True, row.gained), (False, row.lost))
        for problem in problems[:limit]
    ]
    first, second = (_answers(run, [(suite, problem) for suite, problem, _ in wanted]) for run in (a, b))
    return [
        Flip(suite, problem, gained, first.get((suite, problem)), second.get((suite, problem)))
        for suite, problem, gained in wanted
    ]


def _answers(run: Run, wanted: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], dict[str, Any]]:
    """The first sample of each problem."""
    store, asked = RunStore.open(run.path), set(wanted)
    verdicts: dict[tuple[str, int], Judgement] = {}
    seen: set[tuple[str, str]] = set()
    for judgement in store.judgements():
        problem = (judgement.suite, judgement.problem)
        if problem in asked and problem not in seen and judgement.score is not None:
            seen.add(problem)
            verdicts[judgement.key, judgement.sample] = judgement
    return {
        (generation.suite, generation.problem): sample_data(generation, verdicts[generation.key, generation.sample])
        for generation in store.generations_of(verdicts.keys())
    }
