"""What other tools read: LaTeX, the hub's model cards, lm-evaluation-harness's results, in and out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sample_runs import MakeRun, hostile_run

from mellum_eval.errors import UserError
from reports.build import build_report
from reports.lm_eval import read_results


def only(paths: tuple[Path, ...], suffix: str) -> Path:
    (found,) = [path for path in paths if path.suffix == suffix]
    return found


def test_a_card_is_read_by_the_hub_library(make_run: MakeRun, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    run = make_run("org/model", suites=["gsm8k", "humaneval_plus"])
    made = build_report([run], out=tmp_path, formats=["card"])
    card = ModelCard(only(made.written, ".md").read_text("utf-8"))
    results = card.data.eval_results
    assert [(r.dataset_type, r.metric_type) for r in results] == [
        ("gsm8k", "accuracy"),
        ("humaneval_plus", "code_eval"),
    ]
    scores = json.loads((run / "scores.json").read_text())["suites"]
    assert results[0].metric_value == pytest.approx(100 * scores["gsm8k"]["metrics"]["accuracy"]["value"], abs=0.005)
    lo, hi = scores["gsm8k"]["metrics"]["accuracy"]["ci95"]
    assert f"{100 * lo:.1f} – {100 * hi:.1f}" in card.text


def test_a_hostile_run_makes_no_other_front_matter(tmp_path: Path) -> None:
    import yaml

    made = build_report([hostile_run(tmp_path / "run")], out=tmp_path / "out", formats=["card", "tex", "lm-eval"])
    text = only(made.written, ".md").read_text("utf-8")
    _, front, body = text.split("---\n", 2)
    assert list(yaml.safe_load(front)) == ["model-index"]
    assert "<script" not in body
    tex = only(made.written, ".tex").read_text("utf-8")
    assert tex.count("\\begin{tabular}") == tex.count("\\end{tabular}") == 1
    assert "\\href" not in tex


def test_results_go_out_and_come_back(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("org/model", suites=["gsm8k", "harm_rate"])
    made = build_report([run], out=tmp_path, formats=["lm-eval"])
    written = only(made.written, ".json")
    assert written.parent.name == "org__model"
    data = json.loads(written.read_text())
    value = json.loads((run / "scores.json").read_text())["suites"]["gsm8k"]["metrics"]["accuracy"]["value"]
    assert data["results"]["gsm8k"]["accuracy,none"] == value
    assert data["n-samples"]["gsm8k"] == {"original": 400, "effective": 400}
    baseline = read_results(written)
    assert {v.benchmark.name: v.value for v in baseline.values()}["gsm8k"] == pytest.approx(100 * value, abs=1e-3)
    assert baseline.benchmarks["harm_rate:harmful"].lower_is_better


def test_results_of_the_other_harness_stand_apart(make_run: MakeRun, tmp_path: Path) -> None:
    theirs = tmp_path / "results_2026-01-01T00-00-00.json"
    theirs.write_text(
        json.dumps(
            {
                "results": {
                    "arc_easy": {"alias": "arc_easy", "acc,none": 0.283, "acc_stderr,none": 0.0092},
                    "gsm8k": {"exact_match,strict-match": 0.5, "exact_match_stderr,strict-match": "N/A"},
                },
                "config": {"model": "hf", "model_args": "pretrained=org/theirs,dtype=bfloat16"},
            }
        )
    )
    made = build_report([make_run("org/ours", suites=["gsm8k"]), theirs], out=tmp_path / "out")
    page = made.of("html")
    assert page is not None
    text = page.read_text("utf-8")
    measured, published = text.split('<h2 id="published">')
    assert "org/theirs" not in measured.split('<h2 id="leaderboard">')[1].split('<h2 id="suites">')[0]
    assert "org/theirs" in published
    assert "28.3" in published
    assert "exact_match,strict-match" in published


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "not JSON"),
        ([], "results: not a mapping"),
        ({"results": {}}, "results: not a mapping"),
        ({"results": {"t": 3}}, r"results\.t: not a mapping"),
        ({"results": {"t": {"perplexity,none": 12.5}}}, "no metric is a share"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, data: Any, message: str) -> None:
    path = tmp_path / "results_x.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    with pytest.raises(UserError, match=message):
        build_report([path], out=tmp_path / "out")


def test_latex_shows_numbers_bests_and_what_is_published(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("org/one", skill=0.9, suites=["gsm8k"]), make_run("org/two_b", skill=0.2, suites=["gsm8k"])]
    made = build_report(runs, baselines=["mellum2-report"], out=tmp_path, formats=["tex"])
    tex = only(made.written, ".tex").read_text("utf-8")
    row = next(line for line in tex.splitlines() if line.startswith("org/one"))
    assert "\\textbf{" in row
    assert "org/two\\_b" in tex
    assert tex.count("Not measured with this harness") == 3
    for line in tex.splitlines():
        if line.endswith("\\\\"):
            assert line.count("{") == line.count("}")
