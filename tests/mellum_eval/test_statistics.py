"""Every interval keeps what it promises, by simulation; every formula agrees with an independent count."""

from __future__ import annotations

import itertools
import math
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mellum_eval.statistics import (
    Estimate,
    avg_at_k,
    bootstrap_difference,
    holm,
    maj_at_k,
    mcnemar_exact,
    mean_interval,
    minimum_detectable_effect,
    paired_difference,
    pass_at_k,
    problems_needed,
    unpaired_difference,
    wilson_interval,
)

SCORES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1), min_size=1, max_size=40)


def draw(
    rng: np.random.Generator, n: int, size: int, vary: bool, icc: float, k: int
) -> tuple[float, list[float], list[int] | None]:
    """A true mean drawn uniformly, and n scores around it: in clusters, correlated by `icc`, each the mean of k."""
    steps = rng.geometric(1 / size, n) if vary else np.full(n, size)
    ends = np.minimum(np.cumsum(steps), n)
    sizes = np.diff(ends[: int(np.searchsorted(ends, n)) + 1], prepend=0)
    p = rng.random()
    owner = np.repeat(np.arange(len(sizes)), sizes)
    nu = 1 / icc - 1 if icc else 0.0
    of_cluster = rng.beta(max(p * nu, 1e-9), max((1 - p) * nu, 1e-9), len(sizes))[owner] if icc else np.full(n, p)
    if k > 1:  # a problem has a difficulty of its own, shared by its k samples
        of_cluster = rng.beta(np.maximum(1.5 * of_cluster, 1e-9), np.maximum(1.5 * (1 - of_cluster), 1e-9))
    values = rng.binomial(k, of_cluster) / k
    return p, values.tolist(), owner.tolist() if size > 1 else None


@pytest.mark.parametrize(
    ("size", "vary", "icc", "k"),
    [
        (1, False, 0.0, 1),  # yes/no, alone
        (1, False, 0.0, 4),  # the mean of four samples
        (4, False, 0.0, 1),  # clusters that do not matter
        (4, False, 0.3, 1),
        (4, False, 0.3, 4),
        (5, True, 0.3, 1),  # unequal sizes, a few clusters dominate
        (5, True, 0.6, 1),
        (10, True, 0.2, 1),
    ],
)
@pytest.mark.parametrize("n", [164, 1000])
def test_coverage_averaged_over_the_true_mean_is_94_to_96(n: int, size: int, vary: bool, icc: float, k: int) -> None:
    rng = np.random.default_rng([n, size, vary, int(10 * icc), k])
    rounds = 3000 if n == 164 else 1200
    covered = 0
    for _ in range(rounds):
        p, values, clusters = draw(rng, n, size, vary, icc, k)
        estimate = mean_interval(values, clusters)
        covered += estimate.lo <= p <= estimate.hi
    # 94-96 % is the promise for the true coverage; the simulation's own error (2.5 standard errors) is allowed on top.
    slack = 2.5 * math.sqrt(0.95 * 0.05 / rounds)
    assert 0.94 - slack <= covered / rounds <= 0.96 + slack


def test_ignoring_clusters_would_not_keep_the_promise() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(600):
        p, values, _ = draw(rng, 164, 10, False, 0.5, 1)
        estimate = mean_interval(values)
        covered += estimate.lo <= p <= estimate.hi
    assert covered / 600 < 0.85


def test_yes_no_scores_that_stand_alone_get_wilson() -> None:
    from scipy import stats

    estimate = mean_interval([1.0] * 120 + [0.0] * 44)
    expected = stats.binomtest(120, 164).proportion_ci(method="wilson")
    assert (estimate.lo, estimate.hi) == pytest.approx((expected.low, expected.high))
    assert estimate.stderr == pytest.approx(math.sqrt(120 / 164 * 44 / 164 / 163))
    assert mean_interval([1.0] * 120 + [0.0] * 44, list(range(164))) == estimate
    assert mean_interval([1.0] * 120 + [0.0] * 44, [None] * 164) == estimate


def test_fractional_scores_in_mid_range_are_close_to_t() -> None:
    from scipy import stats

    values = [random.Random(5).random() for _ in range(1)] + [i / 199 for i in range(200)]
    estimate = mean_interval(values)
    lo, hi = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    assert estimate.lo == pytest.approx(lo, abs=5e-4)
    assert estimate.hi == pytest.approx(hi, abs=5e-4)
    assert estimate.stderr == pytest.approx(stats.sem(values))


def test_equal_clusters_give_the_textbook_standard_error() -> None:
    values = [1, 1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1]
    clusters = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    means = np.array(values).reshape(4, 3).mean(axis=1)
    expected = math.sqrt(((means - means.mean()) ** 2).sum() / 4**2 * 4 / 3)
    assert mean_interval([float(v) for v in values], clusters).stderr == pytest.approx(expected)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("clusters", [None, [0] * 10, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]])
def test_no_spread_is_not_certainty(value: float, clusters: list[int] | None) -> None:
    estimate = mean_interval([value] * 10, clusters)
    assert estimate.value == value
    assert estimate.hi - estimate.lo > 0.2
    assert estimate.stderr == 0.0


def test_fewer_clusters_say_less() -> None:
    widths = [
        (e := mean_interval([1.0] * 40, [i // size for i in range(40)])).hi - e.lo for size in (1, 2, 4, 10, 20, 40)
    ]
    assert widths == sorted(widths)


@given(SCORES, st.data())
def test_an_interval_holds_its_mean_and_stays_in_range(values: list[float], data: st.DataObject) -> None:
    clusters = data.draw(
        st.none() | st.lists(st.none() | st.integers(0, 3), min_size=len(values), max_size=len(values))
    )
    estimate = mean_interval(values, clusters)
    assert 0.0 <= estimate.lo <= estimate.value <= estimate.hi <= 1.0
    assert estimate == mean_interval(values, clusters)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.booleans())
def test_failures_are_treated_as_successes_are(quarters: list[int], clustered: bool) -> None:
    clusters = [i // 3 for i in range(len(quarters))] if clustered else None
    estimate = mean_interval([q / 4 for q in quarters], clusters)
    mirrored = mean_interval([1 - q / 4 for q in quarters], clusters)
    assert (mirrored.lo, mirrored.hi) == pytest.approx((1 - estimate.hi, 1 - estimate.lo), abs=1e-9)


@given(SCORES, st.randoms())
def test_order_does_not_matter(values: list[float], rnd: random.Random) -> None:
    pairs = [(v, i // 3) for i, v in enumerate(values)]
    rnd.shuffle(pairs)
    estimate = mean_interval([v for v, _ in pairs], [c for _, c in pairs])
    expected = mean_interval(values, [i // 3 for i in range(len(values))])
    assert estimate.lo == pytest.approx(expected.lo, abs=1e-12)
    assert estimate.value == expected.value


@pytest.mark.parametrize("values", [[], [float("nan")], [float("inf"), 1.0]])
def test_what_has_no_mean_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"no values|finite"):
        mean_interval(values)


def test_clusters_of_another_number_are_refused() -> None:
    with pytest.raises(ValueError, match="2 values but 1 clusters"):
        mean_interval([1.0, 0.0], ["a"])


@given(st.integers(1, 12), st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_hit(n: int, data: st.DataObject) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    subsets = list(itertools.combinations([1] * c + [0] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


@pytest.mark.parametrize("args", [(0, 0, 1), (4, 5, 1), (4, -1, 1), (4, 2, 5), (4, 2, 0)])
def test_pass_at_k_of_impossible_counts_is_refused(args: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="need 0 ≤ c ≤ n"):
        pass_at_k(*args)


def test_pass_at_1_is_avg() -> None:
    assert pass_at_k(10, 3, 1) == avg_at_k([1.0] * 3 + [0.0] * 7) == pytest.approx(0.3)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=1, max_size=8), st.data())
def test_maj_at_k_is_the_mean_over_subsets(answers: list[str | None], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(answers)))
    right = data.draw(st.sets(st.sampled_from("abcd")))
    total = []
    for subset in itertools.combinations(answers, k):
        voters = [a for a in subset if a is not None]
        top = max((voters.count(a) for a in voters), default=0)
        winners = {a for a in voters if voters.count(a) == top}
        total.append(len(winners & right) / len(winners) if winners else 0.0)
    got = maj_at_k(answers, [a in right for a in answers], k)
    assert got == pytest.approx(sum(total) / len(total))


def test_maj_ties_do_not_depend_on_order() -> None:
    assert maj_at_k(["a", "b"], [True, False]) == maj_at_k(["b", "a"], [False, True]) == 0.5
    assert maj_at_k([None, None], [False, False]) == 0.0
    assert maj_at_k(["x"] * 33 + ["y"] * 31, [True] * 33 + [False] * 31, 9) > 0.5


def test_mcnemar_agrees_with_the_binomial_test() -> None:
    from scipy import stats

    for b, c in itertools.product(range(8), repeat=2):
        expected = stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
        assert mcnemar_exact(b, c) == pytest.approx(expected)
    with pytest.raises(ValueError, match="negative"):
        mcnemar_exact(-1, 2)


@pytest.mark.parametrize("clustered", [False, True])
def test_paired_intervals_cover_and_tests_hold_their_level(clustered: bool) -> None:
    rng = np.random.default_rng(17 + clustered)
    rounds, covered, rejected = 1500, 0, 0
    for _ in range(rounds):
        p, q = rng.random() * 0.9 + 0.05, 0.3  # both models share a problem's difficulty; q: how often they part
        of_cluster = rng.beta(3 * p, 3 * (1 - p), 41) if clustered else np.full(41, p)
        base = rng.random(164) < np.repeat(of_cluster, 4)
        a = np.where(rng.random(164) < q, rng.random(164) < np.repeat(of_cluster, 4), base).astype(float)
        b = np.where(rng.random(164) < q, rng.random(164) < np.repeat(of_cluster, 4), base).astype(float)
        got = paired_difference(a.tolist(), b.tolist(), [i // 4 for i in range(164)] if clustered else None)
        covered += got.lo <= 0.0 <= got.hi
        rejected += got.p_value < 0.05
    assert covered / rounds >= 0.935
    assert rejected / rounds <= 0.065


def test_paired_difference_counts_and_signs() -> None:
    got = paired_difference([1.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0])
    assert (got.value, got.wins, got.ties, got.losses, got.n) == (0.25, 2, 1, 1, 4)
    assert got.p_value == 1.0
    assert got.lo < got.value < got.hi
    same = paired_difference([1.0, 0.0] * 50, [1.0, 0.0] * 50)
    assert same.value == 0.0
    assert same.hi > 0.02
    assert same.lo == -same.hi
    with pytest.raises(ValueError, match="same problems"):
        paired_difference([1.0], [])


@given(SCORES, st.data())
def test_paired_difference_is_antisymmetric(a: list[float], data: st.DataObject) -> None:
    b = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=len(a), max_size=len(a)))
    clusters = data.draw(st.none() | st.lists(st.integers(0, 2), min_size=len(a), max_size=len(a)))
    one, other = paired_difference(a, b, clusters), paired_difference(b, a, clusters)
    assert one.value == pytest.approx(-other.value)
    assert one.lo == pytest.approx(-other.hi)
    assert one.p_value == pytest.approx(other.p_value)
    assert one.lo <= one.value <= one.hi


def test_bootstrap_is_seeded_and_agrees_with_t() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random(500).tolist(), rng.random(500).tolist()
    boot, t = bootstrap_difference(a, b), paired_difference(a, b)
    assert boot == bootstrap_difference(a, b)
    assert boot != bootstrap_difference(a, b, seed=1)
    assert boot.value == pytest.approx(t.value)
    assert boot.lo == pytest.approx(t.lo, abs=3e-3)
    assert boot.stderr == pytest.approx(t.stderr, rel=0.05)


def test_unpaired_difference_is_newcombes() -> None:
    # Newcombe 1998, table II, (a) 56/70 - 48/80, method 10 without continuity correction: 0.0524 to 0.3339
    a, b = (Estimate(p, *wilson_interval(p, n), 0.0) for p, n in ((56 / 70, 70), (48 / 80, 80)))
    got = unpaired_difference(a, b)
    assert (round(got.lo, 4), round(got.hi, 4)) == (0.0524, 0.3339)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_detectable_effect_and_problems_needed_are_inverse() -> None:
    # 80 % power at 5 %: 2.8016 standard errors
    assert minimum_detectable_effect(0.01) == pytest.approx(0.028016, abs=1e-6)
    assert problems_needed(0.03 / 2.801585, 500) in (500, 501)
    assert problems_needed(0.03, 164, 0.03) > 164


def test_importing_statistics_costs_neither_numpy_nor_scipy() -> None:
    code = "import sys, mellum_eval.statistics; sys.exit(bool({'numpy', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
