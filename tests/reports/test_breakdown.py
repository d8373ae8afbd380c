"""Parts of a suite, and what seeds do."""

from __future__ import annotations

import pytest
from sample_runs import MakeRun

from mellum_eval.records import Metric
from reports.board import make_board
from reports.breakdown import breakdown, over_seeds, part_name
from reports.gather import gather


def test_parts_stand_before_other_metrics(make_run: MakeRun) -> None:
    found = gather([make_run("a", suites=["gsm8k"])])
    half = Metric(value=0.5, ci95=(0.4, 0.6), stderr=0.05)
    found.runs[0].suites["gsm8k"].scores.metrics.update({"pass@8": half, "accuracy[hard]": half})
    board = make_board(found.runs, [], [])
    parts = breakdown(board.rows, board.columns[0])
    assert parts is not None
    assert parts.names == ("accuracy[hard]", "pass@8")
    assert part_name("accuracy[hard]") == "hard"
    assert parts.rows == (("a", (half, half)),)


def test_runs_that_differ_in_seeds_alone_are_one_model(make_run: MakeRun) -> None:
    paths = [make_run("m", seed=i, directory=f"m{i}", suites=["gsm8k"], seeds={"sampling": i}) for i in range(3)] + [
        make_run("other", seed=9, suites=["gsm8k"])
    ]
    runs = gather(paths).runs
    (seeds,) = over_seeds(runs)
    values = [run.suites["gsm8k"].metric.value for run in runs[:3]]
    assert (seeds.model, seeds.suite, seeds.runs) == ("m", "gsm8k", 3)
    assert seeds.mean == pytest.approx(sum(values) / 3)
    assert (seeds.lowest, seeds.highest) == (min(values), max(values))
    assert seeds.always is not None
    assert seeds.ever is not None
    assert seeds.always < min(values) <= max(values) < seeds.ever


def test_the_same_seed_twice_is_no_spread(make_run: MakeRun) -> None:
    paths = [make_run("m", seed=i, directory=f"m{i}", suites=["gsm8k"]) for i in range(2)]
    assert over_seeds(gather(paths).runs) == []
