"""Scores are what the verdicts say, part by part and sample by sample; what nobody could judge is left out."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from mellum_eval import scoring
from mellum_eval.plan import PlannedSuite, plan
from mellum_eval.records import Judgement
from mellum_eval.spec import RunSpec
from mellum_eval.statistics import mean_interval
from mellum_eval.tally import Tally

pytestmark = pytest.mark.usefixtures("fake_suites")


def planned(name: str, **spec: object) -> PlannedSuite:
    (suite,) = plan(RunSpec.model_validate({"suites": (name,), **spec}), chat=True)
    return suite


def score_run(planned: Any, judgements: Any, usage: Any) -> Any:
    tally = Tally(planned)
    for judgement in judgements:
        tally.add(judgement)
    for slot, tokens in usage.items():
        tally.answered(slot, tokens)
    return scoring.score_run(planned, tally)


def verdicts(suite: PlannedSuite, table: dict[int, list[tuple[str, float | None]]], **parts: float) -> list[Judgement]:
    return [
        Judgement(
            key=suite.questions[number].key,
            suite=suite.name,
            problem=f"sum/{number}",
            sample=sample,
            cluster=suite.questions[number].problem.cluster,
            outcome=outcome,
            score=score,
            parts=parts if outcome == "passed" else {},
        )
        for number, row in table.items()
        for sample, (outcome, score) in enumerate(row)
    ]


OK, NO, HALF, OURS = ("passed", 1.0), ("failed", 0.0), ("failed", 0.5), ("infra_error", None)


def test_a_mean_score_is_the_mean_over_problems_with_clustered_errors() -> None:
    suite = planned("sums")
    table = {n: [OK if n < 9 else HALF if n < 12 else NO] for n in range(20)}
    scores = score_run([suite], verdicts(suite, table), {}).suites["sums"]
    values = [1.0] * 9 + [0.5] * 3 + [0.0] * 8
    expected = mean_interval(values, [f"c{n % 5}" for n in range(20)])
    metric = scores.metrics["accuracy"]
    assert (metric.value, metric.ci95, metric.stderr) == (expected.value, (expected.lo, expected.hi), expected.stderr)
    assert set(scores.metrics) == {"accuracy"} and scores.n == 20


def test_pass_at_one_counts_solved_problems_not_partial_credit() -> None:
    suite = planned("late", samples=1)
    scores = score_run([suite], verdicts(suite, {n: [OK if n < 5 else HALF] for n in range(20)}), {}).suites["late"]
    assert scores.metrics["pass@1"].value == 0.25


def test_k_samples_give_pass_at_k_unbiased() -> None:
    suite = planned("late")
    table = {0: [OK, OK, NO, NO], 1: [NO, NO, NO, OK], 2: [NO] * 4, 3: [OK] * 4}
    metrics = score_run([suite], verdicts(suite, table), {}).suites["late"].metrics
    assert set(metrics) == {"pass@1", "pass@2", "pass@4", "avg@4"}
    assert metrics["pass@1"].value == metrics["avg@4"].value == pytest.approx((2 + 1 + 0 + 4) / 16)
    at_two = [1 - math.comb(4 - c, 2) / math.comb(4, 2) for c in (2, 1, 0, 4)]
    assert metrics["pass@2"].value == pytest.approx(sum(at_two) / 4)
    assert metrics["pass@4"].value == 0.75


def test_the_majority_answer_counts_with_ties_shared() -> None:
    suite = planned("sums", samples=4)

    def said(number: int, texts: list[str | None]) -> list[Judgement]:
        made = verdicts(suite, {number: [OK if text == "7" else NO for text in texts]})
        return [
            j.model_copy(update={"evidence": {} if text is None else {"extracted": text}})
            for j, text in zip(made, texts, strict=True)
        ]

    judged = [
        *said(0, ["7", "7", "8", "9"]),  # right
        *said(1, ["7", "8", "8", "9"]),  # wrong
        *said(2, ["7", "7", "8", "8"]),  # tied: one half
        *said(3, [None, None, "7", None]),  # who says nothing does not vote
    ]
    scores = score_run([suite], judged, {}).suites["sums"]
    assert scores.metrics["maj@4"].value == pytest.approx((1 + 0 + 0.5 + 1) / 4)


def test_a_problem_that_lost_samples_counts_only_as_far_as_it_goes() -> None:
    suite = planned("late")
    table = {0: [OK, OURS, OURS, NO], 1: [OK, OK, OK, OK], 2: [OURS] * 4}
    scores = score_run([suite], verdicts(suite, table), {}).suites["late"]
    assert scores.n == 2
    assert scores.metrics["pass@1"].value == 0.75
    assert scores.metrics["pass@2"].value == 1.0
    assert scores.metrics["pass@4"].value == 1.0 and scores.metrics["pass@4"].ci95[0] < 0.8
    assert scores.infra_error_rate == 0.5 and scores.outcomes == {"passed": 5, "failed": 1, "infra_error": 6}


def test_parts_are_metrics_and_answers_without_them_have_none_right() -> None:
    suite = planned("sums")
    table = {n: [OK if n < 10 else ("timeout", 0.0)] for n in range(20)}
    metrics = score_run([suite], verdicts(suite, table, base=1.0, plus=0.5), {}).suites["sums"].metrics
    assert metrics["accuracy[base]"].value == 0.5 and metrics["accuracy[plus]"].value == 0.25


def test_a_metric_named_like_a_part_counts_that_part_and_not_the_score(monkeypatch: pytest.MonkeyPatch) -> None:
    suite = planned("sums")
    monkeypatch.setattr(type(suite.suite), "metric", "strict")
    judged = [
        Judgement.model_validate({**j.model_dump(), "parts": {"strict": float(j.outcome == "passed"), "loose": 1.0}})
        for j in verdicts(suite, {n: [OK if n < 5 else HALF] for n in range(20)})
    ]
    metrics = score_run([suite], judged, {}).suites["sums"].metrics
    assert (set(metrics), metrics["strict"].value) == ({"strict", "strict[loose]"}, 0.25)


def test_nothing_judged_is_no_number_and_a_partial_run_says_so() -> None:
    suite = planned("sums")
    scores = score_run([suite], [], {})
    assert scores.partial and scores.suites["sums"].metrics == {} and scores.suites["sums"].n == 0
    some = score_run([suite], verdicts(suite, {0: [OURS]}), {})
    assert some.partial and some.suites["sums"].infra_error_rate == 1.0 and some.suites["sums"].metrics == {}


def test_tokens_are_means_over_completions() -> None:
    suite = planned("sums")
    usage = {
        (suite.questions[0].key, 0): {"prompt": 10, "completion": 3, "truncated": 1},
        (suite.questions[1].key, 0): {"prompt": 20, "completion": 4, "truncated": 0},
        ("another", 0): {"prompt": 1000},
    }
    assert score_run([suite], [], usage).suites["sums"].tokens == {"completion": 3.5, "prompt": 15.0, "truncated": 0.5}


def test_the_order_of_verdicts_and_verdicts_of_others_do_not_matter() -> None:
    suite = planned("late")
    rng = random.Random(3)
    made = verdicts(suite, {n: [rng.choice((OK, NO, HALF, OURS)) for _ in range(4)] for n in range(20)})
    stray = made[0].model_copy(update={"key": "another", "score": 1.0})
    first = score_run([suite], made, {}).model_dump_json()
    for _ in range(5):
        rng.shuffle(made)
        assert score_run([suite], [stray, *made], {}).model_dump_json() == first
