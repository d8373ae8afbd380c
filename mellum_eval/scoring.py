"""From verdicts to `scores.json`: the same bytes for the same generations, in whatever order they came.

The headline metric of a suite is the mean over its problems. A metric called pass@1 counts solved problems (all tests
passed), one named like a part of the verdicts is the mean of that part (IFEval's prompt_strict: all instructions
followed, where the score is the share of them), any other is the mean of the verdicts' scores; what is made of all
verdicts together (an F1) the suite makes. What could not be judged (`infra_error`) has no score: such a sample is left
out, counted, and shown as a rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

from mellum_eval.overall import overall_scores, problem_values
from mellum_eval.plan import PlannedSuite
from mellum_eval.records import Metric, Scores, SuiteScores
from mellum_eval.statistics import maj_at_k, mean_interval, pass_at_k
from mellum_eval.tally import Mark, Tally
from sandboxes.verdict import Outcome
from suites.suite import Suite


def score_run(planned: Sequence[PlannedSuite], tally: Tally) -> Scores:
    """Score what has been judged so far.

    Args:
        planned: The suites of the run.
        tally: Its verdicts, in whatever order they came, and token counts, with `truncated` 1 where a completion ran
            into its limit.
    """
    suites = {suite.name: _score(suite, tally) for suite in planned}
    wanted = sum(len(suite.questions) * suite.sampling.samples for suite in planned)
    judged = sum(sum(scores.outcomes.values()) for scores in suites.values())
    overall = overall_scores(planned, lambda suite: problem_values(suite, tally, _share))
    return Scores(suites=suites, partial=judged < wanted, overall=overall)


def _score(planned: PlannedSuite, verdicts: Tally) -> SuiteScores:
    samples = planned.sampling.samples
    outcomes: dict[str, int] = {}
    by_problem: list[list[Mark]] = []
    for question in planned.questions:
        marks = (verdicts.get((question.key, sample)) for sample in range(samples))
        found = [mark for mark in marks if mark is not None]
        for judgement in found:
            outcomes[judgement.outcome] = outcomes.get(judgement.outcome, 0) + 1
        by_problem.append([judgement for judgement in found if judgement.score is not None])
    judged = [problem for problem in by_problem if problem]
    seen = sum(outcomes.values())
    scored = sum(len(problem) for problem in judged)
    metrics, measured = _metrics(planned.suite, samples, judged) if judged else ({}, [])
    return SuiteScores(
        category=planned.suite.category,
        n=len(judged),
        metrics={name: metric for name, metric in metrics.items() if name not in measured},
        outcomes={str(outcome): outcomes[outcome] for outcome in Outcome if outcome in outcomes},
        unparsed_rate=outcomes.get(Outcome.UNPARSED, 0) / scored if scored else 0.0,
        infra_error_rate=outcomes.get(Outcome.INFRA_ERROR, 0) / seen if seen else 0.0,
        tokens=verdicts.tokens(planned.name),
        measures={name: metrics[name] for name in measured},
    )


def _metrics(suite: Suite, samples: int, judged: Sequence[Sequence[Mark]]) -> tuple[dict[str, Metric], list[str]]:
    """The metrics, and the names of those that are no shares."""
    metric = suite.metric
    everything = sorted({name for problem in judged for judgement in problem for name in judgement.parts})
    makes_some = type(suite).aggregate is not Suite.aggregate
    together = suite.aggregate({name: _values(judged, name) for name in everything}) if makes_some else {}
    parts = [name for name in everything if not (makes_some and "/" in name)]
    counts = _part(metric) if metric in parts else _solved if metric.startswith("pass@") else _share
    metrics = {metric: _mean(judged, [_average([counts(j) for j in problem]) for problem in judged])}
    if samples > 1:
        metrics[f"avg@{samples}"] = metrics[metric]
        for k in _ks(samples):
            # A problem that lost samples to infra_error says nothing about more samples than it has.
            enough = [problem for problem in judged if len(problem) >= k]
            if enough:
                values = [pass_at_k(len(problem), sum(_passed(j) for j in problem), k) for problem in enough]
                metrics[f"pass@{k}"] = _mean(enough, values)
        if not metric.startswith("pass@") and any(mark.answer is not None for problem in judged for mark in problem):
            votes = [maj_at_k([m.answer for m in problem], [_passed(m) for m in problem]) for problem in judged]
            metrics[f"maj@{samples}"] = _mean(judged, votes)
    for part in parts:
        if part != metric:
            values = [_average([_part(part)(judgement) for judgement in problem]) for problem in judged]
            metrics[f"{metric}[{part}]"] = _mean(judged, values)
    if makes_some and f"{metric}/0" in everything:
        del metrics[metric]  # it is made of all, or cannot be made at all
    measured = []
    for name, (value, error) in together.items():
        half = NormalDist().inv_cdf(0.975) * error
        ends = (value - half, value + half)
        shown = name if name == metric else f"{metric}[{name}]"
        if not suite.is_share(name):
            shown = name
            measured.append(name)
        else:
            if error == 0:  # no spread seen says that the draws were alike, not that the value is known
                ends = min(0.0, value), 1.0
            if 0.0 <= value <= 1.0:  # a share, whose interval the normal one may overshoot
                ends = max(0.0, ends[0]), min(1.0, ends[1])
        metrics[shown] = Metric(value=value, ci95=ends, stderr=error)
    return metrics, measured


def _values(judged: Sequence[Sequence[Mark]], part: str) -> list[float]:
    return [mark.parts[part] for problem in judged for mark in problem if part in mark.parts]


def _part(name: str) -> Callable[[Mark], float]:
    # An answer that never got as far as its parts (unparsed, timeout) has none of them right.
    return lambda judgement: judgement.parts.get(name, 0.0)


def _solved(judgement: Mark) -> float:
    return float(_passed(judgement))


def _share(judgement: Mark) -> float:
    return 0.0 if judgement.score is None else judgement.score


def _ks(samples: int) -> list[int]:
    powers = {2**i for i in range(samples.bit_length())} | {10**i for i in range(1, 5)}
    return sorted(k for k in powers | {samples} if k <= samples)


def _passed(judgement: Mark) -> bool:
    return judgement.outcome == Outcome.PASSED


def _average(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _mean(problems: Sequence[Sequence[Mark]], values: Sequence[float]) -> Metric:
    clusters = [problem[0].cluster for problem in problems]
    estimate = mean_interval(values, clusters if any(cluster is not None for cluster in clusters) else None)
    return Metric(value=estimate.value, ci95=(estimate.lo, estimate.hi), stderr=estimate.stderr)
