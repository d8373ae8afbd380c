"""Whole runs without a model: the run directory of the contract, the table, the report, rescoring and comparing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli import TEXT_SUITES, call

from mellum_eval.records import Generation, Judgement, Manifest, Scores


def scores_of(path: Path) -> Scores:
    return Scores.model_validate(json.loads((path / "scores.json").read_text()))


def test_a_run_leaves_what_the_contract_says(tmp_path: Path) -> None:
    done = call("run", "mock:gold", *TEXT_SUITES, "--limit", "10", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.endswith("-mock-gold")
    assert f"report  runs/{run.name}/report/report.html" in done.stdout
    assert "100.0" in done.stdout.splitlines()[1]
    manifest = Manifest.model_validate(json.loads((run / "run.json").read_text()))
    assert [suite.name for suite in manifest.suites] == ["quick_tools", "quick_safety", "quick_knowledge"]
    assert manifest.versions["python"] and manifest.host["cpus"] and manifest.command
    assert manifest.spec["limit"] == 10 and manifest.model["scheme"] == "mock"
    generations = [Generation.model_validate_json(line) for line in (run / "generations.jsonl").open()]
    judgements = [Judgement.model_validate_json(line) for line in (run / "verdicts.jsonl").open()]
    assert len(generations) == len(judgements) == 30
    scores = scores_of(run)
    assert not scores.partial
    for suite in scores.suites.values():
        assert suite.n == 10 and suite.outcomes == {"passed": 10} and suite.unparsed_rate == 0.0
        assert all(metric.ci95[0] <= metric.value <= metric.ci95[1] for metric in suite.metrics.values())
    assert (run / "report" / "report.html").stat().st_size > 1000


@pytest.mark.docker
def test_the_first_command_runs_a_suite_of_each_category(tmp_path: Path) -> None:
    done = call("run", cwd=tmp_path, timeout=280, MELLUM_DATA_DIR=str(tmp_path), HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert "no model given: nano, the bundled model" in done.stderr.splitlines()[0]
    (run,) = (tmp_path / "runs").iterdir()
    scores = scores_of(run)
    assert {suite.category for suite in scores.suites.values()} == {
        "code", "math", "tools", "knowledge", "safety", "chat"
    }  # fmt: skip
    for name, suite in scores.suites.items():
        assert suite.n == 40, name
        assert suite.infra_error_rate == 0.0
    values = [next(iter(suite.metrics.values())).value for suite in scores.suites.values()]
    assert sum(0.1 < value < 0.95 for value in values) >= 4 and max(values) - min(values) > 0.2, values
    manifest = Manifest.model_validate(json.loads((run / "run.json").read_text()))
    assert manifest.model["scheme"] == "nano" and manifest.model["chat"] and len(manifest.model["sha256"]) == 64


def test_rescoring_gives_the_same_scores_and_says_so_in_the_manifest(tmp_path: Path) -> None:
    call("run", "mock:mixed", *TEXT_SUITES, "--out", "run", cwd=tmp_path)
    before = (tmp_path / "run" / "scores.json").read_bytes()
    (tmp_path / "run" / "scores.json").unlink()
    (tmp_path / "run" / "verdicts.jsonl").unlink()
    done = call("rescore", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "scores.json").read_bytes() == before
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert len(manifest["rescored"]) == 1 and manifest["rescored"][0]["versions"]["python"]


def test_a_replay_asks_what_its_run_asked(tmp_path: Path) -> None:
    call("run", "mock:mixed", *TEXT_SUITES, "--limit", "7", "--samples", "2", "--out", "run", cwd=tmp_path)
    done = call("run", "replay:run", "--out", "again", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again" / "scores.json").read_bytes() == (tmp_path / "run" / "scores.json").read_bytes()


def test_comparing_names_what_flipped(tmp_path: Path) -> None:
    for name, share in (("a", "0.3"), ("b", "0.8")):
        call("run", f"mock:mixed,share={share}", *TEXT_SUITES, "--out", name, cwd=tmp_path)
    done = call("compare", "a", "b", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["suites"]}
    assert set(rows) == {"quick_tools", "quick_safety", "quick_knowledge"}
    for row in rows.values():
        assert row["paired"]["wins"] == len(row["gained"]) > 0 and row["lost"] == []
        assert row["paired"]["value"] == pytest.approx(row["b"] - row["a"])
        assert row["paired"]["lo"] <= row["paired"]["value"] <= row["paired"]["hi"]
        assert row["adjusted_p"] >= row["paired"]["p_value"]
    table = call("compare", "a", "b", "--suite", "quick_tools", cwd=tmp_path)
    assert "won by B: quick_tools/" in table.stdout and "quick_safety" not in table.stdout


def test_too_many_infra_errors_are_exit_1_and_named(tmp_path: Path) -> None:
    call("run", "mock:gold", *TEXT_SUITES, "--limit", "4", "--out", "run", cwd=tmp_path)
    done = call("run", "replay:run", "--max-tokens", "7", "--out", "other", cwd=tmp_path)
    assert done.returncode == 1
    assert "quick_tools: 4 of 4 answers could not be judged and are left out; most often: no completion" in done.stderr
    allowed = call("run", "replay:run", "--max-tokens", "7", "--max-infra-rate", "1", "--out", "more", cwd=tmp_path)
    assert allowed.returncode == 0


def test_several_temperatures_make_rows(tmp_path: Path) -> None:
    done = call("run", "mock:mixed", "-s", "quick_tools", "--temperature", "0", "0.8", "--out", "r", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(scores_of(tmp_path / "r").suites) == {"quick_tools@t0", "quick_tools@t0.8"}
    again = call("run", "mock:mixed", "-s", "quick_tools", "--temperature=0,0.8", "--out", "q", cwd=tmp_path)
    assert again.returncode == 0
    assert (tmp_path / "q" / "scores.json").read_bytes() == (tmp_path / "r" / "scores.json").read_bytes()
