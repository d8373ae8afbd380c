"""A run as a report sees it: what it measured, and what a reader must know of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mellum_eval.records import Manifest, Metric, OverallScore, SuiteRecord, SuiteScores


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a reader must know of the report's sources.

    Attributes:
        text: One line naming the directory, file or field, and the mend.
        bad: Whether the input was wrong, not merely unfinished.
    """

    text: str
    bad: bool


@dataclass(frozen=True, slots=True, eq=False)
class ProblemScores:
    """One score a problem, in arrays: a leaderboard holds millions of them.

    Attributes:
        problems: Names, sorted.
        scores: One a problem, float64 [problems].
        clusters: One a problem, or None where every problem stands alone.
    """

    problems: tuple[str, ...]
    scores: NDArray[np.float64]
    clusters: tuple[str | None, ...] | None

    @classmethod
    def of(cls, values: Mapping[str, tuple[float, str | None]]) -> ProblemScores:
        """From problem → (score, cluster)."""
        problems = tuple(sorted(values))
        clusters = tuple(values[problem][1] for problem in problems)
        alone = all(cluster is None for cluster in clusters)
        scores = np.array([values[problem][0] for problem in problems], dtype=np.float64)
        return cls(problems, scores, None if alone else clusters)

    def by_problem(self) -> dict[str, tuple[float, str | None]]:
        """Problem → (score, cluster)."""
        clusters = self.clusters or (None,) * len(self.problems)
        return dict(zip(self.problems, zip(self.scores.tolist(), clusters, strict=True), strict=True))

    def of_problems(self, problems: Sequence[str]) -> ProblemScores:
        """Only these problems, each of which must be here, in their order."""
        if problems == self.problems:
            return self
        at = {problem: i for i, problem in enumerate(self.problems)}
        picked = [at[problem] for problem in problems]
        clusters = None if self.clusters is None else tuple(self.clusters[i] for i in picked)
        return ProblemScores(tuple(problems), self.scores[picked], clusters)


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """One run's result on one suite.

    Attributes:
        record: The suite as the manifest has it.
        scores: The suite's line of `scores.json`.
        headline: Name of the metric that the leaderboard shows, one of `scores.metrics`.
        values: Scores whose mean is the headline metric; None where the metric is no mean over problems or the verdicts
            are not at hand. Paired comparisons rest on it.
    """

    record: SuiteRecord
    scores: SuiteScores
    headline: str
    values: ProblemScores | None

    @property
    def metric(self) -> Metric:
        """The headline metric's number and interval."""
        return self.scores.metrics[self.headline]

    @property
    def identity(self) -> str:
        """The same for two results if and only if the suite asked the same: its version and its data."""
        return repr((self.record.version, sorted(self.record.data.items())))


@dataclass(frozen=True, slots=True)
class Run:
    """One run directory."""

    path: Path
    label: str
    manifest: Manifest
    partial: bool
    suites: dict[str, SuiteResult]
    unjudged: dict[str, SuiteScores] = field(default_factory=dict)
    """Suites of which no answer could be judged: outcomes, but no number."""
    overall: dict[str, OverallScore] = field(default_factory=dict)
    """Scores over several suites; without a value where a part of them was not run."""

    @property
    def parameters(self) -> tuple[float | None, float | None]:
        """Total and active parameters in billions, None where the manifest does not say."""
        given = self.manifest.model.get("parameters")
        given = given if isinstance(given, dict) else {}
        total, active = (_billions(given.get(name)) for name in ("total", "active"))
        return total, active


def _billions(count: object) -> float | None:
    if isinstance(count, bool) or not isinstance(count, (int, float)) or not math.isfinite(count) or count <= 0:
        return None
    return count / 1e9
