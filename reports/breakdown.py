"""What stands behind a headline: a suite's parts (languages, categories), and the same model under other seeds."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mellum_eval import jsonl
from mellum_eval.records import Metric
from reports.board import Column, Row
from reports.run import Run, SuiteResult

_PART = re.compile(r"^(?P<metric>[^\[\]]+)\[(?P<part>.+)\]$")


@dataclass(frozen=True, slots=True)
class Breakdown:
    """A suite's metrics other than its headline.

    Attributes:
        names: Metrics, parts first.
        rows: For each row of the board with the suite, its label and one metric a name, None where it has none.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Metric | None, ...]], ...]


@dataclass(frozen=True, slots=True)
class Seeds:
    """One model on one suite under several seeds.

    Attributes:
        model: Name.
        suite: Name.
        runs: How many.
        mean: Of the runs' headline metrics.
        spread: Their standard deviation (n - 1).
        lowest: The least of them.
        highest: The greatest of them.
        always: Share of the problems that every run solved whole, None where problems cannot be paired.
        ever: Share of the problems that at least one run solved whole.
    """

    model: str
    suite: str
    runs: int
    mean: float
    spread: float
    lowest: float
    highest: float
    always: float | None
    ever: float | None


def breakdown(rows: Sequence[Row], column: Column) -> Breakdown | None:
    """The other metrics of a suite, or None where it has none."""
    results = [(row.run.label, row.cells[column.suite].result) for row in rows if column.suite in row.cells]
    seen = dict.fromkeys(name for _, result in results for name in result.scores.metrics if name != result.headline)
    if not seen:
        return None
    names = sorted(seen, key=lambda name: _PART.match(name) is None)
    return Breakdown(
        tuple(names),
        tuple((label, tuple(result.scores.metrics.get(name) for name in names)) for label, result in results),
    )


def part_name(metric: str) -> str:
    """The part of `metric[part]`, or the whole name."""
    found = _PART.match(metric)
    return found["part"] if found else metric


def over_seeds(runs: Sequence[Run]) -> list[Seeds]:
    """Models that were run more than once with nothing but the seeds changed, suite by suite."""
    alike: dict[tuple[str, str, str], list[tuple[Run, SuiteResult]]] = defaultdict(list)
    for run in runs:
        for suite, result in run.suites.items():
            sampling = {name: value for name, value in result.record.sampling.items() if name != "seed"}
            same = jsonl.dumps([_identity(run.manifest.model), sampling, result.identity, result.headline])
            alike[_name(run), suite, same].append((run, result))
    found = []
    for (model, suite, _), results in alike.items():
        if len({jsonl.dumps(run.manifest.seeds) for run, _ in results}) == len(results) > 1:
            found.append(_seeds(model, suite, [result for _, result in results]))
    return found


def _identity(model: Mapping[str, object]) -> dict[str, object]:
    return {name: model[name] for name in sorted(model) if name not in ("run", "path")}


def _name(run: Run) -> str:
    return str(run.manifest.model.get("name") or run.label)


def _seeds(model: str, suite: str, results: Sequence[SuiteResult]) -> Seeds:
    values = [result.metric.value for result in results]
    mean = math.fsum(values) / len(values)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    always = ever = None
    scores = [result.values for result in results]
    known = [score for score in scores if score is not None]
    if len(known) == len(scores) and len({score.problems for score in known}) == 1:
        solved = np.array([score.scores >= 1.0 for score in known])
        always, ever = float(solved.all(axis=0).mean()), float(solved.any(axis=0).mean())
    return Seeds(model, suite, len(values), mean, spread, min(values), max(values), always, ever)
