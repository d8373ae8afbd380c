"""Scores in experiment trackers: the real packages, offline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sample_runs import MakeRun, hostile_run

from mellum_eval.errors import UserError
from reports.build import build_report


def test_tensorboard_reads_what_was_measured(make_run: MakeRun, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = make_run("org/model", suites=["gsm8k", "harm_rate"])
    for _ in range(2):  # a run that is tracked again is not there twice
        made = build_report([run], out=tmp_path, formats=["csv"], trackers=[f"tensorboard:{tmp_path / 'board'}"])
    (place,) = made.tracked
    assert [path.name for path in (tmp_path / "board").iterdir()] == [Path(place).name]
    board = EventAccumulator(place)
    board.Reload()
    scores = json.loads((run / "scores.json").read_text())["suites"]["gsm8k"]
    for name, wanted in (
        ("", scores["metrics"]["accuracy"]["value"]),
        ("/ci95_low", scores["metrics"]["accuracy"]["ci95"][0]),
    ):
        (event,) = board.Tensors(f"gsm8k/accuracy{name}")
        assert event.tensor_proto.float_val[0] == pytest.approx(wanted, abs=1e-6)


def test_wandb_keeps_an_offline_run(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    sent: list[dict[str, float]] = []
    summary: Any = wandb.sdk.wandb_summary.Summary
    update = summary.update
    # What it keeps offline is in a format of its own: what it was given is looked at instead.
    monkeypatch.setattr(summary, "update", lambda self, given: (sent.append(given), update(self, given)))
    honest, hostile = make_run("org/model", suites=["gsm8k"]), hostile_run(tmp_path / "run")
    made = build_report([honest, hostile], out=tmp_path / "out", formats=["csv"], trackers=["wandb:mine"])
    kept = sorted(path.parent for path in (tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert sorted(map(Path, made.tracked)) == kept and len(kept) == 2
    wanted = json.loads((honest / "scores.json").read_text())["suites"]["gsm8k"]["metrics"]["accuracy"]
    assert sent[0]["gsm8k/accuracy"] == wanted["value"]
    assert [sent[0][f"gsm8k/accuracy/ci95_{end}"] for end in ("low", "high")] == wanted["ci95"]
    assert sent[1] and all(name.isprintable() for name in sent[1])


@pytest.mark.parametrize("target", ["wandb", "wandb:", "mlflow:x", ""])
def test_other_trackers_are_named(target: str, make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="wandb:PROJECT, tensorboard:DIR"):
        build_report([make_run("m", suites=["gsm8k"])], out=tmp_path, formats=["csv"], trackers=[target])
