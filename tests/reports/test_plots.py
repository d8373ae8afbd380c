"""Charts: the frontier is one, only what all runs took is averaged, and a name is never more than text."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from sample_runs import HOSTILE, MakeRun

from reports.board import Board, make_board
from reports.build import build_report
from reports.gather import gather
from reports.plots import area_scores, plots
from reports.svg import available, draw

pytest.importorskip("vl_convert")


def board_of(make_run: MakeRun, *models: tuple[str, float, float, list[str]]) -> Board:
    paths = [
        make_run(
            name,
            skill=skill,
            seed=i,
            suites=suites,
            model={"scheme": "hf", "name": name, "parameters": {"total": active * 1e9, "active": active * 1e9}},
        )
        for i, (name, skill, active, suites) in enumerate(models)
    ]
    return make_board(gather(paths).runs, [], [])


AREAS = ["humaneval_plus", "gsm8k", "mmlu_redux"]


def test_the_line_joins_the_runs_that_none_beats_at_their_size(make_run: MakeRun) -> None:
    board = board_of(make_run, ("small", 0.5, 2, AREAS), ("waste", 0.3, 9, AREAS), ("big", 0.9, 14, AREAS))
    chart = next(plot for plot in plots(board) if "parameters" in plot.title)
    points = chart.spec["data"]["values"]
    assert {p["name"] for p in points if p["area"] == "math" and p["front"]} == {"small", "big"}
    assert all(p["lo"] < p["score"] < p["hi"] for p in points)


def test_only_suites_that_every_run_took_are_averaged(make_run: MakeRun) -> None:
    more = ["humaneval_plus", "mbpp_plus", "harm_rate"]
    board = board_of(make_run, ("a", 0.9, 1, more), ("b", 0.2, 2, ["humaneval_plus", "harm_rate"]))
    means = area_scores(board)
    row = next(row for row in board.rows if row.run.label == "a")
    assert means["a"]["code"][0] == row.cells["humaneval_plus"].result.metric.value
    assert means["a"]["safety"][0] == 1 - row.cells["harm_rate"].result.metric.value


def test_no_chart_where_there_is_nothing_to_compare(make_run: MakeRun) -> None:
    assert plots(board_of(make_run, ("alone", 0.5, 1, ["gsm8k"]))) == []


@pytest.mark.parametrize("name", [text for text in HOSTILE if "\x00" not in text and "\ud800" not in text])
def test_a_hostile_name_is_text(name: str) -> None:
    spec = {
        "data": {"values": [{"x": 1, "n": name}]},
        "mark": "text",
        "encoding": {"x": {"field": "x", "type": "quantitative"}, "text": {"field": "n"}},
    }
    drawn = draw(spec, name)
    root = ElementTree.fromstring(drawn)  # well-formed, and holds nothing but shapes and text
    assert {element.tag for element in root.iter()} <= {"svg", "g", "path", "line", "rect", "circle", "text", "tspan"}
    assert not [key for element in root.iter() for key in element.attrib if key.startswith("on") or "href" in key]
    assert root.get("aria-label") is not None


def test_colours_follow_the_theme(make_run: MakeRun) -> None:
    board = board_of(make_run, ("a", 0.9, 1, AREAS), ("b", 0.2, 2, AREAS))
    for plot in plots(board):
        drawn = draw(plot.spec, plot.label)
        assert "var(--" in drawn
        assert not re.findall(r'(?:fill|stroke)="#0[1-6]0', drawn)


def test_without_the_renderer_the_report_says_so(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert available()
    monkeypatch.setattr("reports.svg.find_spec", lambda name: None)
    made = build_report([make_run("a", suites=AREAS)], out=tmp_path)
    page = made.of("html")
    assert page is not None
    assert "mellum-eval[report]" in page.read_text("utf-8")


def test_runs_without_a_suite_in_common_are_not_drawn_and_that_is_said(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("a", suites=["gsm8k"]), make_run("b", suites=["ifeval"])]
    page = build_report(runs, out=tmp_path / "out", formats=["html"]).of("html")
    assert page is not None
    assert "No plots: they compare runs on suites that all of them took" in page.read_text("utf-8")
