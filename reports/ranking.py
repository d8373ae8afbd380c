"""Which results a suite can tell apart: tiers instead of an order that the data do not support.

The best result leads the first tier; whoever is not shown to differ from it belongs to it. The best of the rest leads
the next tier, and so on. Where two runs answered the same problems the comparison is paired, which sees smaller
differences than the two intervals do; else it is of the two intervals. The comparisons with one leader are adjusted
for their number (Holm), since with enough models the luckiest would always stand alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist

from mellum_eval.statistics import Estimate, holm, paired_difference, unpaired_difference
from reports.run import ProblemScores, SuiteResult

ALPHA = 0.05
SHARED = 0.9
"""Share of the problems that two runs must have in common to be compared problem by problem."""


def tiers(results: Mapping[str, SuiteResult]) -> dict[str, int]:
    """Run label → tier on one suite, 1 the best; runs of one tier are tied with its leader."""
    if not results:
        return {}
    lower = next(iter(results.values())).record.lower_is_better
    rest = sorted(results, key=lambda label: results[label].metric.value, reverse=not lower)
    found: dict[str, int] = {}
    tier = 0
    while rest:
        tier += 1
        leader, *others = rest
        adjusted = holm([p_value(results[leader], results[other]) for other in others])
        tied = {other for other, p in zip(others, adjusted, strict=True) if p >= ALPHA}
        # A result between two tied ones is tied as well: a tier has no holes.
        last = max((i for i, other in enumerate(others) if other in tied), default=-1)
        for label in (leader, *others[: last + 1]):
            found[label] = tier
        rest = others[last + 1 :]
    return found


def p_value(a: SuiteResult, b: SuiteResult) -> float:
    """Two-sided p-value that two results differ: paired where both have the same problems, else of the intervals."""
    if a.metric.value == b.metric.value:
        return 1.0
    pair = _paired(a, b)
    if pair is not None:
        return paired_difference(pair[0].scores, pair[1].scores, pair[0].clusters).p_value
    difference = unpaired_difference(_estimate(a), _estimate(b))
    normal = NormalDist()
    # The interval's own width, not the standard error: at 0 % and 100 % that is 0, and says nothing.
    toward_zero = difference.value - difference.lo if difference.value > 0 else difference.hi - difference.value
    if toward_zero <= 0.0:
        return 0.0
    return 2.0 * normal.cdf(-abs(difference.value) / toward_zero * normal.inv_cdf(1.0 - ALPHA / 2.0))


def _paired(a: SuiteResult, b: SuiteResult) -> tuple[ProblemScores, ProblemScores] | None:
    """Both runs' scores on the problems to pair on; None where they took other ones.

    A few that one of them lost to an infrastructure error are no reason to give up pairing: that is nobody's choice.
    """
    if a.values is None or b.values is None:
        return None
    if a.values.problems == b.values.problems:
        return a.values, b.values
    shared = sorted({*a.values.problems} & {*b.values.problems})
    if not shared or len(shared) < SHARED * max(len(a.values.problems), len(b.values.problems)):
        return None
    return a.values.of_problems(shared), b.values.of_problems(shared)


def _estimate(result: SuiteResult) -> Estimate:
    lo, hi = result.metric.ci95
    return Estimate(result.metric.value, lo, hi, result.metric.stderr)
