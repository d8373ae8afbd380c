"""Two runs: what is won and lost, which way is better, and what the problems could have shown."""

from __future__ import annotations

from sample_runs import MakeRun

from reports.comparing import compare_suites
from reports.flips import flips
from reports.gather import gather


def values(*scores: float) -> dict[str, tuple[float, str | None]]:
    return {f"p{i}": (score, None) for i, score in enumerate(scores)}


def test_lower_is_better_turns_what_is_won() -> None:
    pairs = {"s": ("m", values(1, 0, 0, 1), values(0, 0, 1, 1))}
    (higher,), (lower,) = compare_suites(pairs), compare_suites(pairs, {"s"})
    assert (higher.gained, higher.lost) == (("p2",), ("p0",))
    assert (lower.gained, lower.lost) == (("p0",), ("p2",))
    assert higher.paired == lower.paired


def test_more_problems_show_smaller_differences() -> None:
    few, many = [1.0, 0.0, 0.0, 1.0] * 10, [1.0, 0.0, 0.0, 1.0] * 100
    (small,) = compare_suites({"s": ("m", values(*few), values(*few[1:], few[0]))})
    (large,) = compare_suites({"s": ("m", values(*many), values(*many[1:], many[0]))})
    assert large.detectable < small.detectable
    assert 0.5 < large.needed / small.needed < 2


def test_no_flip_is_no_proof_of_no_difference() -> None:
    (row,) = compare_suites({"s": ("m", values(*[1.0] * 50), values(*[1.0] * 50))})
    assert row.paired.stderr == 0.0
    assert row.detectable > 0.02


def test_flips_show_both_answers_and_both_verdicts(make_run: MakeRun) -> None:
    a, b = gather([make_run("a", skill=0.9, suites=["gsm8k"]), make_run("b", skill=0.3, seed=1, suites=["gsm8k"])]).runs
    first, second = a.suites["gsm8k"].values, b.suites["gsm8k"].values
    assert first is not None
    assert second is not None
    rows = compare_suites({"gsm8k": ("accuracy", first.by_problem(), second.by_problem())})
    found = flips(a, b, rows, 5)
    assert len(found) == 10
    for flip in found:
        assert flip.a is not None
        assert flip.b is not None
        assert flip.a["problem"] == flip.b["problem"] == flip.problem
        assert (flip.b["outcome"] == "passed") is flip.gained
        assert (flip.a["outcome"] == "passed") is not flip.gained
