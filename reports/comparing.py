"""Two runs over the same problems: differences with intervals, and which problems flipped."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mellum_eval.statistics import (
    Comparison,
    Estimate,
    bootstrap_difference,
    holm,
    minimum_detectable_effect,
    paired_difference,
    problems_needed,
)

Values = Mapping[str, tuple[float, str | None]]
"""Problem → score and cluster."""


@dataclass(frozen=True, slots=True)
class SuiteComparison:
    """One suite in both runs, b minus a.

    Attributes:
        name: The suite.
        metric: What is compared.
        a: Mean of the first run over the shared problems.
        b: Mean of the second.
        paired: The difference b - a.
        bootstrap: The same by a seeded bootstrap over clusters: a check on the first that assumes no distribution.
        adjusted_p: The p-value, adjusted (Holm) for the number of suites compared.
        gained: Problems where b does better, in order of the difference.
        lost: Problems where b does worse.
        unshared: Problems that only one run has a score for; left out.
        detectable: Smallest true difference that these problems show with a power of 80 %.
        needed: Problems that would show a difference of 3 points.
    """

    name: str
    metric: str
    a: float
    b: float
    paired: Comparison
    bootstrap: Estimate
    adjusted_p: float
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    unshared: int
    detectable: float
    needed: int


def compare_suites(
    pairs: Mapping[str, tuple[str, Values, Values]], lower_is_better: Collection[str] = ()
) -> list[SuiteComparison]:
    """Compare suite by suite.

    Args:
        pairs: Suite → metric, values of run a, values of run b; suites without a shared problem are left out.
        lower_is_better: Suites where the lower score is the better one.
    """
    rows = []
    for name, (metric, a, b) in pairs.items():
        shared = [problem for problem in a if problem in b]
        if not shared:
            continue
        first, second = [a[problem][0] for problem in shared], [b[problem][0] for problem in shared]
        clusters = [a[problem][1] for problem in shared]
        grouped = clusters if any(cluster is not None for cluster in clusters) else None
        sign = -1.0 if name in lower_is_better else 1.0
        better = {problem: sign * (y - x) for problem, x, y in zip(shared, first, second, strict=True)}
        paired = paired_difference(second, first, grouped)
        # No flip seen is no proof of no spread: the interval, which knows that, gives the standard error then.
        stderr = paired.stderr or (paired.hi - paired.lo) / 3.92
        rows.append(
            SuiteComparison(
                name=name,
                metric=metric,
                a=sum(first) / len(shared),
                b=sum(second) / len(shared),
                paired=paired,
                bootstrap=bootstrap_difference(second, first, grouped),
                adjusted_p=1.0,
                gained=tuple(sorted((p for p in shared if better[p] > 0), key=lambda p: -better[p])),
                lost=tuple(sorted((p for p in shared if better[p] < 0), key=lambda p: better[p])),
                unshared=len(a.keys() ^ b.keys()),
                detectable=minimum_detectable_effect(stderr),
                needed=problems_needed(stderr, len(shared)),
            )
        )
    adjusted = holm([row.paired.p_value for row in rows])
    return [_with_p(row, p) for row, p in zip(rows, adjusted, strict=True)]


def _with_p(row: SuiteComparison, p: float) -> SuiteComparison:
    from dataclasses import replace

    return replace(row, adjusted_p=p)
