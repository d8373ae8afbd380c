"""A run directory that is wrong is named with field and mend; the rest is reported."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sample_runs import MakeRun

from reports.gather import gather
from reports.run import Notice, Run


def both(paths: list[Path]) -> tuple[list[Run], list[Notice]]:
    found = gather(paths)
    return found.runs, found.notices


def edit(path: Path, change: Callable[[Any], None]) -> None:
    data = json.loads(path.read_text("utf-8"))
    change(data)
    path.write_text(json.dumps(data), "utf-8")


def test_a_sound_run_has_no_notices(make_run: MakeRun) -> None:
    (run,), notices = both([make_run("a/model", suites=["gsm8k", "mmlu_redux"])])
    assert notices == []
    assert run.label == "a/model"
    assert not run.partial
    assert run.parameters == pytest.approx((12.15, 2.44), abs=0.05)
    assert run.suites["gsm8k"].values is not None
    assert len(run.suites["gsm8k"].values.problems) == 400
    assert run.suites["mmlu_redux"].values is not None
    assert len(set(run.suites["mmlu_redux"].values.clusters or ())) == 25


def _score(value: float) -> Callable[[Any], None]:
    def change(data: Any) -> None:
        data["suites"]["gsm8k"]["metrics"]["accuracy"] |= {"value": value, "ci95": [value, value]}

    return change


def _outcomes(**counts: int) -> Callable[[Any], None]:
    return lambda data: data["suites"]["gsm8k"]["outcomes"].update(counts)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("scores.json", _score(0.99), r"suites\.gsm8k\.metrics\.accuracy\.value does not agree with verdicts"),
        ("scores.json", _score(float("nan")), r"suites\.gsm8k\.metrics\.accuracy: not a share"),
        ("scores.json", _score(1.5), r"suites\.gsm8k\.metrics\.accuracy: not a share"),
        ("scores.json", _outcomes(passed=9999), r"suites\.gsm8k\.outcomes does not agree with verdicts"),
        ("scores.json", _outcomes(failed=-3), r"suites\.gsm8k\.outcomes\.failed: -3 is not a count"),
        ("scores.json", lambda d: d["suites"].update(other=d["suites"]["gsm8k"]), r"suites\.other is not in run\.json"),
        ("scores.json", lambda d: d.update(extra=1), r"scores\.json: extra: Extra inputs"),
        ("scores.json", lambda d: d["suites"]["gsm8k"].pop("n"), r"scores\.json: suites\.gsm8k\.n: Field required"),
        ("run.json", lambda d: d.update(format=2), r"run\.json: format: Input should be 1"),
        ("run.json", lambda d: d.pop("model"), r"run\.json: model: Field required"),
    ],
)
def test_an_altered_file_is_named_with_its_field(
    make_run: MakeRun, file: str, change: Callable[[Any], None], message: str
) -> None:
    sound, altered = make_run("sound", suites=["gsm8k"]), make_run("altered", suites=["gsm8k"])
    edit(altered / file, change)
    runs, notices = both([altered, sound])
    (notice,) = notices
    assert notice.bad
    assert str(altered) in notice.text
    assert re.search(message, notice.text)
    assert "\n" not in notice.text
    assert [run.label for run in runs if not run.partial] == ["sound"]


@pytest.mark.parametrize("line", ["{broken}", '{"key": 1}', '{"key": "k", "sample": 0, "surprise": true}'])
def test_an_altered_verdict_costs_the_pairing_and_not_the_numbers(make_run: MakeRun, line: str) -> None:
    path = make_run("a", suites=["gsm8k"])
    lines = (path / "verdicts.jsonl").read_text("utf-8").splitlines()
    lines[3] = line
    (path / "verdicts.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    (run,), (notice,) = both([path])
    assert notice.bad
    assert "verdicts.jsonl:4" in notice.text
    assert run.partial
    assert run.suites["gsm8k"].values is None


def test_lost_verdicts_are_noticed(make_run: MakeRun) -> None:
    path = make_run("a", suites=["gsm8k"])
    (path / "verdicts.jsonl").unlink()
    _, (notice,) = both([path])
    assert "does not agree with verdicts.jsonl" in notice.text


def test_an_unfinished_run_is_no_bad_input(make_run: MakeRun) -> None:
    path = make_run("a", suites=["gsm8k"])
    (path / "scores.json").unlink()
    (run,), (notice,) = both([path])
    assert not notice.bad
    assert "run --resume" in notice.text
    assert run.partial
    assert run.suites == {}


def test_a_suite_of_which_nothing_could_be_judged_is_shown_as_such(make_run: MakeRun) -> None:
    path = make_run("a", suites=["gsm8k", "ifeval"])

    def lose(data: Any) -> None:
        data["suites"]["gsm8k"] |= {"metrics": {}, "n": 0, "outcomes": {"infra_error": 5}, "infra_error_rate": 1.0}

    edit(path / "scores.json", lose)
    (run,), (notice,) = both([path])
    assert "not one answer could be judged" in notice.text
    assert list(run.suites) == ["ifeval"]
    assert run.unjudged["gsm8k"].outcomes == {"infra_error": 5}


@pytest.mark.parametrize("kind", ["missing", "empty", "file", "foreign"])
def test_what_is_no_run_directory_is_said_so(make_run: MakeRun, tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind in ("empty", "foreign"):
        path.mkdir()
    if kind == "file":
        path.write_text("hello", "utf-8")
    if kind == "foreign":
        (path / "run.json").write_text('{"results": {"gsm8k": {"acc": 0.5}}}', "utf-8")
    runs, (notice,) = both([path, make_run("a", suites=["gsm8k"])])
    assert notice.bad
    assert str(path) in notice.text
    assert len(runs) == 1


def test_runs_of_one_model_are_told_apart(make_run: MakeRun) -> None:
    paths = [make_run("m", suites=["ifeval"], directory=d) for d in ("x/one", "x/two", "y/two")]
    runs, _ = both([*paths, paths[0]])
    labels = [run.label for run in runs]
    assert labels[0] == "m (one)"
    assert len(set(labels)) == 3
    assert labels[2].endswith("y/two)")


def test_other_data_under_the_same_name_is_noticed_and_not_ranked(make_run: MakeRun) -> None:
    from reports.board import make_board

    a, b = make_run("a", suites=["gsm8k"]), make_run("b", suites=["gsm8k"])
    edit(b / "run.json", lambda d: d["suites"][0].update(version="2"))
    runs, notices = both([a, b])
    assert "gsm8k: a and b differ in its version or data" in notices[0].text
    assert not any(cell.contested for row in make_board(runs, (), notices).rows for cell in row.cells.values())


def test_a_torn_last_line_is_no_alarm(make_run: MakeRun) -> None:
    path = make_run("a", suites=["gsm8k"])
    with (path / "verdicts.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"key": "gsm8k0')
    assert gather([path]).notices == []
