"""Tiers: nobody is placed below another whom the data do not show to be better."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from mellum_eval.records import Metric, SuiteRecord, SuiteScores
from mellum_eval.statistics import mean_interval
from reports.ranking import p_value, tiers
from reports.run import ProblemScores, SuiteResult


def result(values: Sequence[float], *, paired: bool = True, lower: bool = False) -> SuiteResult:
    e = mean_interval(values)
    record = SuiteRecord(
        name="s", category="code", version="1", metric="m", lower_is_better=lower, sampling={}, problems=len(values)
    )
    metric = Metric(value=e.value, ci95=(e.lo, e.hi), stderr=e.stderr)
    scores = SuiteScores(
        category="code",
        n=len(values),
        metrics={"m": metric},
        outcomes={},
        unparsed_rate=0.0,
        infra_error_rate=0.0,
        tokens={},
    )
    return SuiteResult(
        record, scores, "m", ProblemScores.of({str(i): (v, None) for i, v in enumerate(values)}) if paired else None
    )


def kept(whole: SuiteResult, lost: int) -> ProblemScores:
    assert whole.values is not None
    return whole.values.of_problems(whole.values.problems[lost:])


def share(passed: int, n: int = 200) -> list[float]:
    return [1.0] * passed + [0.0] * (n - passed)


def test_clear_differences_make_tiers_and_unclear_ones_do_not() -> None:
    found = tiers({"good": result(share(180)), "near": result(share(178)), "bad": result(share(60))})
    assert found == {"good": 1, "near": 1, "bad": 2}


def test_lower_is_better_turns_the_order() -> None:
    found = tiers({"much": result(share(180), lower=True), "little": result(share(60), lower=True)})
    assert found == {"little": 1, "much": 2}


def test_pairing_sees_what_intervals_do_not() -> None:
    a, b = share(120), share(108)  # b fails twelve that a passes, and none the other way round
    assert tiers({"a": result(a), "b": result(b)}) == {"a": 1, "b": 2}
    assert tiers({"a": result(a, paired=False), "b": result(b, paired=False)}) == {"a": 1, "b": 1}


def test_a_few_lost_problems_do_not_undo_the_pairing() -> None:
    a, b = share(120), share(108)
    whole, lost = result(a), result(b)
    values = kept(lost, 3)
    assert tiers({"a": whole, "b": replace(lost, values=values)}) == {"a": 1, "b": 2}
    half = kept(lost, 100)
    assert tiers({"a": whole, "b": replace(lost, values=half)}) == {"a": 1, "b": 1}


def test_runs_over_other_problems_are_compared_by_their_intervals() -> None:
    a, b = result(share(120)), result(share(80, 150))
    assert p_value(a, b) > 0.05
    assert p_value(result(share(190)), result(share(20, 150))) < 1e-6


@pytest.mark.parametrize("paired", [True, False])
def test_equal_models_are_rarely_torn_apart(paired: bool) -> None:
    rng = random.Random(4)
    split = 0
    for _ in range(150):
        runs = {str(i): result([float(rng.random() < 0.6) for _ in range(164)], paired=paired) for i in range(8)}
        split += max(tiers(runs).values()) > 1
    # one leader, seven comparisons: without an adjustment about every third table would have a false second tier
    assert split / 150 < 0.16


def test_extremes_and_single_runs() -> None:
    assert tiers({}) == {}
    assert tiers({"only": result(share(0))}) == {"only": 1}
    assert tiers({"all": result(share(200)), "none": result(share(0))}) == {"all": 1, "none": 2}
    assert tiers({"x": result(share(200)), "y": result(share(200))}) == {"x": 1, "y": 1}
    assert tiers({"x": result(share(200), paired=False), "y": result(share(199), paired=False)}) == {"x": 1, "y": 1}
