"""Comparing two runs: differences with intervals, exact tests, and what a number of problems can show at all."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from mellum_eval.statistics.means import Estimate, group, spread_of, t_quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference a - b of two mean scores.

    Attributes:
        value: Mean of a minus mean of b.
        lo: Lower end of the 95 % interval.
        hi: Upper end of the 95 % interval.
        stderr: Standard error of the difference.
        p_value: Two-sided; of McNemar's exact test where scores are yes/no and problems stand alone.
        n: Problems that both have.
        wins: Problems where a scored higher.
        ties: Problems where both scored the same.
        losses: Problems where b scored higher.
        method: How interval and p-value were made, in words for a report.
    """

    value: float
    lo: float
    hi: float
    stderr: float
    p_value: float
    n: int
    wins: int
    ties: int
    losses: int
    method: str


def _two_sided(t: float, df: float) -> float:
    from scipy.special import stdtr

    return min(1.0, 2.0 * float(stdtr(df, -abs(t))))


def mcnemar_exact(b: int, c: int) -> float:
    """Two-sided exact p-value that b and c flips of the two directions are equally likely.

    Source: Q. McNemar, Psychometrika 12 (1947); the exact form is the binomial test of b in b + c at one half.

    Raises:
        ValueError: A count is negative.
    """
    if b < 0 or c < 0:
        raise ValueError(f"counts of flips cannot be negative: {b}, {c}")
    if b == c:
        return 1.0
    from scipy.special import bdtr

    return min(1.0, 2.0 * float(bdtr(min(b, c), b + c, 0.5)))


def paired_difference(
    a: Sequence[float] | NDArray[np.float64],
    b: Sequence[float] | NDArray[np.float64],
    clusters: Sequence[Hashable | None] | None = None,
) -> Comparison:
    """Paired difference of two runs over the same problems.

    Pairing removes the variance that both share (E. Miller, arXiv 2411.00640, section 4.2). The interval is t's with
    clustered standard errors. Yes/no scores of problems that stand alone get the interval of D. G. Bonett &
    R. M. Price, J. Educ. Behav. Stat. 37 (2012): one flip more in each direction and two problems more, which stays
    honest where there are few flips; and McNemar's exact p-value.

    Args:
        a: Scores of the first run, one a problem.
        b: Scores of the second, in the same order.
        clusters: For each problem the cluster it belongs to, or None where it stands alone.

    Raises:
        ValueError: Nothing to compare, or lengths differ.
    """
    n = len(a)
    if n == 0 or len(b) != n:
        raise ValueError(f"a paired comparison needs the same problems on both sides, not {n} and {len(b)}")
    import numpy as np

    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    apart = x - y
    if not np.isfinite(apart).all():
        raise ValueError("a score is not a finite number")
    wins, losses = int((apart > 0).sum()), int((apart < 0).sum())
    diffs = apart.tolist()
    mean = math.fsum(diffs) / n
    spread = spread_of(diffs, clusters, mean)
    stderr = math.sqrt(spread.variance) if spread.variance > 1e-18 else 0.0
    binary = all(bool(((side == 0.0) | (side == 1.0)).all()) for side in (x, y))
    if binary and spread.units == n:
        shifted = (wins - losses) / (n + 2)
        half = NormalDist().inv_cdf(0.975) * math.sqrt(((wins + losses + 2) / (n + 2) - shifted**2) / (n + 2))
        lo, hi = max(-1.0, shifted - half), min(1.0, shifted + half)
        p_value, method = mcnemar_exact(wins, losses), "Bonett-Price interval, exact McNemar"
    elif stderr == 0.0:
        # No difference varied (or there is one cluster): two clusters more, one a win and one a loss, as above.
        units = spread.units
        shifted = mean * units / (units + 2)
        half = t_quantile(0.975, max(1.0, units - 1.0)) * math.sqrt(
            ((units * mean * mean + 2) / (units + 2) - shifted**2) / (units + 2)
        )
        lo, hi = max(-1.0, shifted - half), min(1.0, shifted + half)
        p_value = 1.0 if mean == 0.0 else min(1.0, 2.0 * 0.5**units)
        method = "no spread seen: adjusted interval, sign test over clusters"
    else:
        half = t_quantile(0.975, spread.df) * stderr
        lo, hi = mean - half, mean + half
        p_value = _two_sided(mean / stderr, spread.df)
        method = "t, clustered standard error" if spread.units < n else "t over paired differences"
    return Comparison(mean, min(lo, mean), max(hi, mean), stderr, p_value, n, wins, n - wins - losses, losses, method)


def unpaired_difference(a: Estimate, b: Estimate) -> Estimate:
    """Difference of two independent estimates, for runs that do not share their problems.

    Source: "method variance estimates recovery", R. G. Newcombe, Stat. Med. 17 (1998), method 10: the ends are made
    from both intervals' ends, so their asymmetry near 0 and 1 is kept.
    """
    value = a.value - b.value
    lo = value - math.hypot(a.value - a.lo, b.hi - b.value)
    hi = value + math.hypot(a.hi - a.value, b.value - b.lo)
    return Estimate(value, lo, hi, math.hypot(a.stderr, b.stderr))


def bootstrap_difference(
    a: Sequence[float],
    b: Sequence[float],
    clusters: Sequence[Hashable | None] | None = None,
    *,
    draws: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """Paired difference with a percentile bootstrap over clusters; seeded, so the same data give the same interval.

    Source: B. Efron & R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; whole clusters are drawn.

    Raises:
        ValueError: Nothing to compare, or lengths differ.
    """
    if not a or len(a) != len(b):
        raise ValueError(f"a paired comparison needs the same problems on both sides, not {len(a)} and {len(b)}")
    import numpy as np

    groups = group([x - y for x, y in zip(a, b, strict=True)], clusters)
    sums = np.array([math.fsum(members) for members in groups])
    sizes = np.array([len(members) for members in groups], dtype=float)
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    for start in range(0, draws, 256):  # in blocks: draws × clusters indices at once would be gigabytes
        pick = rng.integers(0, len(groups), size=(min(256, draws - start), len(groups)))
        means[start : start + len(pick)] = sums[pick].sum(axis=1) / sizes[pick].sum(axis=1)
    lo, hi = np.quantile(means, [0.025, 0.975])
    return Estimate(math.fsum(sums) / float(sizes.sum()), float(lo), float(hi), float(means.std(ddof=1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number, in the given order.

    Source: S. Holm, Scand. J. Stat. 6 (1979): step-down, no assumption on dependence.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def minimum_detectable_effect(stderr: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest true difference that a two-sided test finds with the given power, for this standard error.

    Source: E. Miller, arXiv 2411.00640, section 5: (z(1 - α/2) + z(power)) · SE.
    """
    normal = NormalDist()
    return (normal.inv_cdf(1.0 - alpha / 2.0) + normal.inv_cdf(power)) * stderr


def problems_needed(stderr: float, n: int, effect: float = 0.03, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """How many such problems would show `effect` (3 points unless told), given the standard error that n of them gave.

    Source: the same formula solved for n, as a standard error falls with the root of the number of problems.

    Raises:
        ValueError: `effect` or `n` is not positive.
    """
    if effect <= 0.0 or n <= 0:
        raise ValueError(f"effect and n must be positive, not {effect} and {n}")
    return math.ceil(n * (minimum_detectable_effect(stderr, alpha=alpha, power=power) / effect) ** 2)
