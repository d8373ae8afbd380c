"""Tasks that measure texts and continuations, and groups: by one checkpoint here and through lm-eval's `hf` model."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from environments import LM_EVAL, pinned_python

from mellum_eval import launch
from mellum_eval.backends.hf_ranking import windows
from mellum_eval.cli.native import provide_native
from mellum_eval.pipeline import Watcher
from mellum_eval.spec import BackendOptions, RunSpec
from mellum_model import Mellum, generate
from mellum_model.nano import checkpoint
from mellum_model.tokenizer import Tokenizer
from reports.reading import read_run
from suites import registry
from suites.registry import UnknownSuite
from suites.sources import SourceMissing

REFERENCE = """
import json, os, sys
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "DISABLE_MULTIPROC": "1"}
out, sys.stdout = sys.stdout, sys.stderr
import lm_eval, lm_eval.tasks
folder, model = sys.argv[1:]
manager = lm_eval.tasks.TaskManager(include_path=folder, include_defaults=False)
made = lm_eval.simple_evaluate(
    model="hf", model_args={"pretrained": model, "dtype": "float32", "prefix_token_id": 0},
    tasks=["texts", "words", "both"], task_manager=manager, batch_size=1, device="cpu", bootstrap_iters=1000,
)
samples = {name: [s["resps"][0][0] for s in made["samples"][name]] for name in ("texts", "words")}
print(json.dumps({"results": made["results"], "samples": samples}, default=float), file=out)
"""
TASK = """
task: NAME
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/FILE.jsonl}, cache_dir: FOLDER/cache}
test_split: test
"""
TEXTS = """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{page}}"
metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}, {metric: bits_per_byte}]
"""
WORDS = """
output_type: loglikelihood
doc_to_text: "{{begin}}"
doc_to_target: "{{end}}"
metric_list:
  - {metric: perplexity, aggregation: perplexity, higher_is_better: false}
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""
CHOICES = """
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: choices
doc_to_target: label
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""
GROUP = """
group: both
task: [many, few]
aggregate_metric_list: [{metric: acc, weight_by_size: true}, {metric: acc_norm, weight_by_size: false}]
metadata: {version: 3}
"""
NAMES = ("texts", "words", "both")


def greedy_after(text: str) -> str:
    """What the model says next, so that a continuation is asked about that is the greedy one."""
    path = checkpoint("base")
    tokenizer = Tokenizer.load(path)
    (said,) = generate(Mellum.from_pretrained(path, dtype="float32"), [text], max_new_tokens=2, tokenizer=tokenizer)
    return str(said.text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    choices = [{"question": f"Is {n} odd?", "choices": ["by no means", "yes"], "label": n % 2} for n in range(11)]
    rows: dict[str, list[dict[str, Any]]] = {
        # The second and the fourth are longer than the model's context.
        "texts": [{"page": " ".join(f"Line {k * n % 23} of {n}." for k in range(n * 90))} for n in (1, 7, 2, 12)],
        "words": [
            {"begin": begin, "end": end} for begin in ("def", "return", "What is 2 plus") for end in (" x", " 2")
        ],
        "many": choices,
        "few": choices[:3],
    }
    rows["words"].append({"begin": "Question: What is 3 plus 4?\n", "end": "Answer"})
    rows["words"] += [{"begin": begin, "end": greedy_after(begin)} for begin in ("def f(", "Question: What is")]
    for name, text in (("texts", TEXTS), ("words", WORDS), ("many", CHOICES), ("few", CHOICES)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[name]))
        head = TASK.replace("NAME", name).replace("FILE", name).replace("FOLDER", str(folder))
        (folder / f"{name}.yaml").write_text(head + text)
    (folder / "both.yaml").write_text(GROUP)
    return folder


@pytest.fixture(scope="module")
def theirs(folder: Path) -> dict[str, Any]:
    """What lm-eval gives; the checkpoint's tokenizer names no token for the beginning of a text, its config does: 0."""
    command = [pinned_python("lm-eval", *LM_EVAL), "-c", REFERENCE, folder, checkpoint("base")]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module", params=["hf", "native"])
def run_dir(request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    provide_native()
    path = tmp_path_factory.mktemp(request.param) / "run"
    spec = RunSpec(
        model=f"{request.param}:{checkpoint('base')}",
        suites=tuple(f"lm_eval:{folder}/{name}.yaml" for name in NAMES),
        backend=BackendOptions(base=True, dtype="float32", device="cpu"),
    )
    asyncio.run(launch.run(spec, path, resume=False, say=print, watch=lambda planned: Watcher()))
    return path


@pytest.mark.timeout(900)
def test_likelihoods_and_scores_are_lm_evals_own(folder: Path, run_dir: Path, theirs: dict[str, Any]) -> None:
    said = [json.loads(line) for line in (run_dir / "generations.jsonl").read_text().splitlines()]
    greedy = set()
    for name in ("texts", "words"):
        mine = {int(one["problem"]): one for one in said if one["suite"].endswith(f"/{name}.yaml")}
        for number, reply in enumerate(theirs["samples"][name]):
            value = reply[0] if name == "words" else reply
            assert mine[number]["loglikelihoods"][0] == pytest.approx(value, rel=1e-4), (name, number)
            if name == "words":
                assert mine[number]["greedy"] == [bool(reply[1])], number
                greedy.add(bool(reply[1]))
    suites = json.loads((run_dir / "scores.json").read_text())["suites"]
    assert greedy == {True, False}
    texts, words, both = (suites[f"lm_eval:{folder}/{name}.yaml"] for name in NAMES)
    results = theirs["results"]
    for metric in ("word_perplexity", "byte_perplexity", "bits_per_byte"):
        assert texts["measures"][metric]["value"] == pytest.approx(results["texts"][f"{metric},none"], rel=1e-3)
    probability = texts["metrics"]["byte_probability"]
    assert probability["value"] == pytest.approx(1 / results["texts"]["byte_perplexity,none"], rel=1e-3)
    assert 0 < probability["ci95"][0] < probability["value"] < probability["ci95"][1] < 1
    assert words["measures"]["perplexity"]["value"] == pytest.approx(results["words"]["perplexity,none"], rel=1e-3)
    assert words["metrics"]["acc"]["value"] == results["words"]["acc,none"]
    for name, metric, task in (
        ("acc", "acc", "both"),
        ("acc[acc_norm]", "acc_norm", "both"),
        ("acc[few:acc]", "acc", "few"),
        ("acc[many:acc_norm]", "acc_norm", "many"),
    ):
        assert both["metrics"][name]["value"] == pytest.approx(results[task][f"{metric},none"], abs=1e-12), name
        assert both["metrics"][name]["stderr"] == pytest.approx(results[task][f"{metric}_stderr,none"], abs=1e-12), name
    assert both["metrics"]["acc[acc_norm]"] != both["metrics"]["acc[many:acc_norm]"]
    assert {one["problem"] for one in said if "/both" in one["suite"]} >= {"many/10", "few/0"}


def test_it_is_judged_again_and_the_report_believes_it(run_dir: Path) -> None:
    before = (run_dir / "scores.json").read_bytes()
    (run_dir / "scores.json").unlink()
    asyncio.run(launch.rescore(run_dir, RunSpec(), say=print, watch=lambda planned: Watcher()))
    assert (run_dir / "scores.json").read_bytes() == before
    assert not [notice for notice in read_run(run_dir).notices if notice.bad]


def test_windows_cover_each_token_once_as_lm_eval_lays_them() -> None:
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    tokens = list(range(1, 24))
    for limit in (4, 5, 23, 40):
        laid = map(make_disjoint_window, get_rolling_token_windows(tokens, 0, limit, 1))
        wanted = [([*context, *continuation][:-1], list(continuation)) for context, continuation in laid]
        assert [(list(fed), list(read)) for fed, read in windows([0, *tokens], 1, limit)] == wanted, limit


def test_what_is_not_asked_is_said(folder: Path) -> None:
    suite = registry.get(f"lm_eval:{folder}/texts.yaml")
    with pytest.raises(SourceMissing, match="use --base"):
        suite.render(suite.problems()[0], chat=True)
    (folder / "plain.yaml").write_text("group: plain\ntask: [many, few]\n")
    with pytest.raises(UnknownSuite, match=r"without a score of its own: name its tasks \(many, few\)"):
        registry.get(f"lm_eval:{folder}/plain.yaml").problems()
    (folder / "mixed.yaml").write_text(GROUP.replace("both", "mixed").replace("few", "words"))
    with pytest.raises(SourceMissing, match=r"many and words differ in greedy"):
        registry.get(f"lm_eval:{folder}/mixed.yaml").problems()
