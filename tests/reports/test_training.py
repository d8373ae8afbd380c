"""Training runs: the log as the loop writes it becomes curves, what is damaged is named, what is hostile is text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mellum_eval.cli import _run
from reports import svg
from reports.curves import PANELS, POINTS, plot_of, render_curves, row_of, thinned
from reports.training_log import logs_under, read_logs


def write(directory: Path, lines: list[dict[str, Any]], tail: str = "") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + tail, "utf-8")
    return directory


def steps(count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"kind": "step", "step": n, "tokens": 64 * n, "loss": 5.0 / n, "lr": 1e-3, "grad_norm": 1.0, **more}
        for n in range(1, count + 1)
    ]


def test_a_directory_of_stages_is_its_stages_in_the_order_of_training(tmp_path: Path) -> None:
    for name, begun in (("a_last", "2026-02-01"), ("b_first", "2026-01-01")):
        write(tmp_path / name, steps(3))
        (tmp_path / name / "train.json").write_text(json.dumps({"begun": begun, "steps": 9, "command": "x"}), "utf-8")
    found = logs_under(tmp_path)
    assert [log.parent.name for log in found] == ["b_first", "a_last"]
    assert logs_under(tmp_path / "a_last") == [tmp_path / "a_last" / "metrics.jsonl"]
    assert logs_under(found[0]) == [found[0]]
    logs, notices = read_logs(found)
    assert [log.label for log in logs] == ["b_first", "a_last"] and not notices
    row = row_of(logs[0])
    assert (row.steps, row.planned, row.tokens, row.command) == (3, 9, 192, "x")
    assert row.first == pytest.approx((5 + 2.5 + 5 / 3) / 3)


def test_an_evaluation_is_no_training_run(tmp_path: Path) -> None:
    write(tmp_path / "below", steps(1))
    (tmp_path / "run.json").write_text("{}", "utf-8")
    assert logs_under(tmp_path) == [] and logs_under(tmp_path / "absent") == []


def test_a_torn_end_is_left_out_and_damage_is_named(tmp_path: Path) -> None:
    lines = [*steps(2), {"kind": "step", "loss": 1.0}, {"kind": "evaluation", "step": 2, "loss": 0.5}]
    logs, notices = read_logs([write(tmp_path, lines, tail='{"kind": "step", "st') / "metrics.jsonl"])
    assert [line["step"] for line in logs[0].lines["step"]] == [1, 2]
    assert [notice.text.rpartition("jsonl, ")[2] for notice in notices] == [
        "line 3: no line of a training log; left out"
    ]
    assert logs[0].series("evaluation", "loss") == [(2, 0.5)]


def test_what_is_no_number_is_not_drawn(tmp_path: Path) -> None:
    odd = [{"kind": "step", "step": n, "loss": value} for n, value in enumerate(["1", None, True, float("nan"), 2.0])]
    logs, _ = read_logs([write(tmp_path, odd) / "metrics.jsonl"])
    assert logs[0].series("step", "loss") == [(4, 2.0)]


def test_a_long_run_is_thinned_to_means() -> None:
    values = [(n, float(n % 2)) for n in range(10 * POINTS)]
    assert len(thinned(values)) == POINTS
    assert {value for _, value in thinned(values)} == {0.5}
    assert thinned(values[:3]) == values[:3] and thinned([]) == []


def test_a_panel_has_a_line_for_each_run_and_field(tmp_path: Path) -> None:
    write(tmp_path / "a", steps(3, mtp=2.0))
    write(tmp_path / "b", steps(3))
    logs, _ = read_logs([tmp_path / name / "metrics.jsonl" for name in "ab"])
    loss = plot_of(PANELS[0], logs)
    assert loss is not None
    lines = {(point["run"], point["what"]) for point in loss.spec["data"]["values"]}
    assert lines == {("a", "next token"), ("a", "MTP head"), ("b", "next token")}
    assert [panel.title for panel in PANELS if plot_of(panel, logs)] == ["Loss", "Learning rate", "Gradient norm"]


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    attack = "<script>alert(1)</script>"
    lines = [*steps(2), {"kind": "alarm", "step": 2, "alarm": attack, "message": attack}]
    directory = write(tmp_path / "<img src=x onerror=alert(1)>", lines)
    (directory / "train.json").write_text(json.dumps({"command": attack}), "utf-8")
    page = render_curves(*read_logs([directory / "metrics.jsonl"]))
    assert attack not in page and "<img" not in page
    assert page.count("&lt;script&gt;alert(1)") == 3
    assert svg.available() is ("<path" in page)


def test_the_command_shows_a_training_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write(tmp_path / "pretrain", steps(2))
    assert _run(["report", str(run)]) == 0
    page = run / "report" / "training.html"
    assert capsys.readouterr().out == f"{page}\n"
    assert "pretrain" in page.read_text("utf-8")
    write(tmp_path / "empty", [])
    assert _run(["report", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "no step was logged" in capsys.readouterr().err
