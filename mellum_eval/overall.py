"""Scores over several suites of one run: weighted sums of categories' means, with what was not run named.

How to read this: the interval adds up the categories' variances as if they were independent (it is the normal one,
value ± 1.96 SE, cut at 0 and 1). Variations of one task in several categories make it a little too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from mellum_eval.plan import PlannedSuite
from mellum_eval.records import OverallScore
from mellum_eval.statistics import mean_interval
from mellum_eval.tally import Mark
from suites.overall import OVERALLS, Overall

Values = Callable[[PlannedSuite], Sequence[tuple[str, str | None, float]]]


def overall_scores(planned: Sequence[PlannedSuite], values: Values) -> dict[str, OverallScore]:
    """The overall scores that a run speaks of: those with all their categories, and those of which most were run.

    Args:
        planned: The suites; where a run has several temperatures, each has overall scores of its own (`NAME@tT`).
        values: For each judged problem of a suite its category, its cluster and its value.
    """
    found: dict[str, OverallScore] = {}
    for suffix in dict.fromkeys(suite.name[len(suite.suite.full_name) :] for suite in planned):
        asked = [suite for suite in planned if suite.name.endswith(suffix) or not suffix]
        for name, overall in OVERALLS.items():
            members = [suite for suite in asked if suite.suite.name in overall.suites]
            score = _score(overall, members, values) if members else None
            if score is not None:
                found[name + suffix] = score
    return found


def _score(overall: Overall, members: Sequence[PlannedSuite], values: Values) -> OverallScore | None:
    means: dict[str, tuple[float, float]] = {}
    grouped: dict[str, list[tuple[str | None, float]]] = {}
    for suite in members:
        for category, cluster, value in values(suite):
            grouped.setdefault(category, []).append((cluster, value))
    for category in overall.weights:
        rows = grouped.get(category)
        if rows:
            clusters = [cluster for cluster, _ in rows]
            known = clusters if any(cluster is not None for cluster in clusters) else None
            estimate = mean_interval([value for _, value in rows], known)
            means[category] = estimate.value, estimate.stderr
    missing = [category for category in overall.weights if category not in means]
    if sum(overall.weights[category] for category in means) < 0.5:
        return None  # a run of one category has no overall score to miss
    if missing:
        return OverallScore(missing=missing)
    value = math.fsum(weight * means[category][0] for category, weight in overall.weights.items())
    variance = math.fsum((weight * means[category][1]) ** 2 for category, weight in overall.weights.items())
    half = 1.96 * math.sqrt(variance)
    return OverallScore(value=value, ci95=(max(0.0, value - half), min(1.0, value + half)), stderr=math.sqrt(variance))


def problem_values(
    suite: PlannedSuite, verdicts: Mapping[tuple[str, int], Mark], value: Callable[[Mark], float]
) -> list[tuple[str, str | None, float]]:
    """Category, cluster and mean value of each problem with a judged sample."""
    rows = []
    for question in suite.questions:
        samples = (verdicts.get((question.key, sample)) for sample in range(suite.sampling.samples))
        judged = [value(judgement) for judgement in samples if judgement is not None and judgement.score is not None]
        if judged:
            category = str(question.problem.metadata.get("category", ""))
            rows.append((category, question.problem.cluster, math.fsum(judged) / len(judged)))
    return rows
