"""The bridge to lm-evaluation-harness: its own scores for the same answers, from tasks in local files."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mellum_eval import launch
from mellum_eval.backends.base import BackendInfo, Completion, Reply, Request, best_choice
from mellum_eval.cli.failures import explain
from mellum_eval.pipeline import Watcher
from mellum_eval.spec import RunSpec
from sandboxes import lm_eval_task
from sandboxes.check import CHECK, LmEvalCheck
from sandboxes.verdict import Outcome
from sandboxes.verifiers.lm_eval import LmEvalVerifier
from suites import registry
from suites.registry import UnknownSuite
from suites.sources import SourceMissing

SUMS = """
task: local_sums
dataset_path: json
dataset_kwargs: {data_files: {train: FOLDER/sums.jsonl, test: FOLDER/sums.jsonl}, cache_dir: FOLDER/cache}
output_type: generate_until
training_split: train
test_split: test
num_fewshot: 2
description: "Add.\\n\\n"
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n", "Question:"], max_gen_toks: 12, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
filter_list:
  - name: first-number
    filter: [{function: regex, regex_pattern: "(-?[0-9]+)"}, {function: take_first}]
  - name: last-digit
    filter: [{function: regex, regex_pattern: "([0-9])", group_select: -1}, {function: take_first}]
metadata: {version: 1.0}
"""
CHOICES = """
task: local_choices
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/choices.jsonl}, cache_dir: FOLDER/cache}
output_type: multiple_choice
test_split: test
doc_to_text: "{{question}}"
doc_to_choice: choices
doc_to_target: label
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
  - {metric: f1, aggregation: f1, higher_is_better: true}
  - {metric: brier_score, aggregation: brier_score, higher_is_better: false}
metadata: {version: 2.0}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    sums = [{"question": f"What is {a} plus {b}?", "answer": str(a + b)} for a in range(4) for b in range(4)]
    draw = random.Random(1)
    choices = [
        {"question": f"Is {n} odd?", "choices": ["by no means", "yes"], "label": draw.randrange(2)} for n in range(20)
    ]
    for name, rows in (("sums", sums), ("choices", choices)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, text in (("sums", SUMS), ("choices", CHOICES)):
        (folder / f"{name}.yaml").write_text(text.replace("FOLDER", str(folder)))
    return folder


def said(context: str) -> str:
    """What the model says after a context: sometimes the right sum, always something."""
    seed = int(hashlib.sha256(context.encode()).hexdigest()[:8], 16)
    question = context.rpartition("What is ")[2]
    right = int(question[0]) + int(question[7])
    return [f" {right}", f" {right}0", " I do not know", f" that is {right} or 7\nQuestion: What", f"{right}"][seed % 5]


def likelihood(context: str, choice: str) -> float:
    return -10 * random.Random(context + choice).random()


class Fixed:
    """A base model that says the same as `lm_evals_own`'s."""

    info = BackendInfo("fixed", chat=False, identity={"scheme": "mock", "name": "fixed"})

    async def generate(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        async for request in requests:
            text = said(request.prompt.text or "")
            for stop in request.prompt.stop:
                text = text.partition(stop)[0]
            yield request, Completion(text)

    async def loglikelihood(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        async for request in requests:
            values = [likelihood(*pair) for pair in request.prompt.ranked(request.prompt.text or "")]
            yield request, Completion(best_choice(values), loglikelihoods=values)

    async def aclose(self) -> None:
        pass


def lm_evals_own(files: Sequence[Path]) -> tuple[dict[str, dict[str, Any]], list[str], list[tuple[str, str]]]:
    """What `simple_evaluate` makes of the same model's answers, and what it asked: contexts, and pairs to rank."""
    from lm_eval import simple_evaluate
    from lm_eval.api.model import LM
    from lm_eval.models.utils import postprocess_generated_text
    from lm_eval.tasks import TaskManager

    contexts: list[str] = []
    pairs: list[tuple[str, str]] = []

    class Same(LM):
        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
            contexts.extend(request.args[0] for request in requests)
            return [postprocess_generated_text(said(r.args[0]), r.args[1]["until"], None) for r in requests]

        def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> list[tuple[float, bool]]:
            pairs.extend(request.args for request in requests)
            return [(likelihood(*request.args), False) for request in requests]

        def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
            raise NotImplementedError

    manager = TaskManager(include_path=str(files[0].parent), include_defaults=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISABLE_MULTIPROC", "1")  # no fork of this process, with all its threads
        made = simple_evaluate(
            model=Same(), tasks=[str(file) for file in files], task_manager=manager, bootstrap_iters=1000
        )
    assert made is not None
    return dict(made["results"]), contexts, pairs


@pytest.fixture(scope="module")
def run_dir(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import asyncio

    async def fixed(*args: Any, **kwargs: Any) -> Fixed:
        return Fixed()

    path = tmp_path_factory.mktemp("runs") / "run"
    suites = (f"lm_eval:{folder}/sums.yaml", f"lm_eval:{folder}/choices.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "open_backend", fixed)
        spec = RunSpec(model="mock:gold", suites=suites)
        asyncio.run(launch.run(spec, path, resume=False, say=print, watch=lambda planned: Watcher()))
    return path


def test_scores_and_errors_are_lm_evals_own(folder: Path, run_dir: Path) -> None:
    files = [folder / "sums.yaml", folder / "choices.yaml"]
    theirs, contexts, pairs = lm_evals_own(files)
    asked = [json.loads(line)["prompt"] for line in (run_dir / "generations.jsonl").read_text().splitlines()]
    assert sorted(prompt["text"] for prompt in asked if "choices" not in prompt) == sorted(contexts)
    ranked = [(prompt["text"], choice) for prompt in asked for choice in prompt.get("choices", ())]
    assert sorted(ranked) == sorted(pairs)
    ours = json.loads((run_dir / "scores.json").read_text())["suites"]
    compared = 0
    for file, task in zip(files, ("local_sums", "local_choices"), strict=True):
        metrics = ours[f"lm_eval:{file}"]["metrics"]
        headline = next(iter(metrics))
        for name, metric in metrics.items():
            part = name.removeprefix(f"{headline}[").removesuffix("]") if name != headline else name
            metric_name, _, chosen = part.partition(",")
            chosen = chosen or "none"
            assert metric["value"] == pytest.approx(theirs[task][f"{metric_name},{chosen}"], abs=1e-12), part
            assert metric["stderr"] == pytest.approx(theirs[task][f"{metric_name}_stderr,{chosen}"], abs=1e-12), part
            assert 0 < metric["value"] < 1
            compared += 1
    assert compared == 5, "two filters of the sums; acc, acc_norm and f1 of the choices"


def test_a_run_is_judged_again_without_a_model(run_dir: Path) -> None:
    import asyncio

    before = (run_dir / "scores.json").read_bytes()
    (run_dir / "scores.json").unlink()
    asyncio.run(launch.rescore(run_dir, RunSpec(), say=print, watch=lambda planned: Watcher()))
    assert (run_dir / "scores.json").read_bytes() == before


def test_the_suite_says_what_the_task_is(folder: Path) -> None:
    suite = registry.get(f"lm_eval:{folder}/choices.yaml")
    problems = suite.problems()
    assert len(problems) == 20
    assert suite.metric == "acc"
    assert re.fullmatch(r"lm-eval [0-9.]+, local_choices 2\.0, data [0-9a-f]{12}", suite.version)
    assert "left out: brier_score" in suite.summary
    base = suite.render(problems[3], chat=False)
    assert (base.text, base.choices) == ("Is 3 odd?", (" by no means", " yes"))
    chat = suite.render(problems[3], chat=True)
    assert [message.content for message in chat.messages] == ["Is 3 odd?"]
    assert chat.choices == ("by no means", "yes")


def test_worked_examples_are_turns_for_a_chat_model(folder: Path) -> None:
    suite = registry.get(f"lm_eval:{folder}/sums.yaml")
    problem = suite.problems()[0]
    roles = [message.role for message in suite.render(problem, chat=True).messages]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]
    base = suite.render(problem, chat=False)
    assert (base.text or "").startswith("Add.\n\nQuestion: ")
    assert (base.text or "").count("Answer:") == 3
    assert base.stop == ("\n", "Question:")
    assert suite.sampling.max_tokens == 12


async def test_answers_that_are_none_and_checks_from_elsewhere(folder: Path) -> None:
    name = f"{folder}/sums.yaml"
    check = registry.get(f"lm_eval:{name}").problems()[5].check  # 1 plus 1
    verifier = LmEvalVerifier()
    assert isinstance(check, LmEvalCheck)
    assert (await verifier.verify(check, "<think>8?</think> 2.")).outcome is Outcome.PASSED
    assert (await verifier.verify(check, "<think>2")).outcome is Outcome.UNPARSED
    assert (await verifier.verify(check, "")).outcome is Outcome.FAILED
    other = check.model_copy(update={"sha256": "0" * 16})
    assert (await verifier.verify(other, " 2")).outcome is Outcome.INFRA_ERROR
    unopened = check.model_copy(update={"task": "/etc/evil.yaml"})
    assert "not opened" in (await verifier.verify(unopened, " 2")).message
    with pytest.raises(ValueError, match="lm_eval"):
        CHECK.validate_python(check.model_dump())


async def test_a_rule_that_never_ends_is_the_answers_fault_and_only_its(folder: Path) -> None:
    (folder / "slow.py").write_text(
        "def process_results(doc, results):\n"
        "    while results[0] == 'stall':\n        pass\n"
        "    return {'exact_match': float(results[0] == doc['answer'])}\n"
    )
    text = SUMS.replace("FOLDER", str(folder)).replace("local_sums", "local_slow")
    text = text.partition("filter_list:")[0] + "process_results: !function slow.process_results\n"
    (folder / "slow.yaml").write_text(text)
    check = registry.get(f"lm_eval:{folder}/slow.yaml").problems()[0].check
    quick = check.model_copy(update={"limits": check.limits.model_copy(update={"cpu_s": 1.0})})
    verifier = LmEvalVerifier()
    assert (await verifier.verify(quick, "stall")).outcome is Outcome.TIMEOUT
    assert (await verifier.verify(quick, "0")).outcome is Outcome.PASSED, "the process was started again"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"unsafe_code": True}, "unconfined"),
        ({"repeats": 3}, "repeats"),
        ({"dataset_path": "nobody/nothing_at_all"}, "data cannot be had"),
    ],
)
def test_what_cannot_be_run_is_said_in_one_line(
    folder: Path, change: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    file = folder / f"{next(iter(change))}.yaml"
    file.write_text(json.dumps({"include": str(folder / "sums.yaml"), "task": file.stem, **change}))
    with pytest.raises(SourceMissing) as caught:
        registry.get(f"lm_eval:{file}").problems()
    code, line = explain(caught.value)
    assert code == 3
    assert why in line
    assert str(file) in line


def test_names_that_are_no_task(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownSuite, match="name a task"):
        registry.get("lm_eval")
    with pytest.raises(UnknownSuite, match="no such file"):
        registry.get(f"lm_eval:{folder}/nothing.yaml").problems()
    monkeypatch.setattr(lm_eval_task.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SourceMissing, match=r"lm-eval is not installed; run `pip install \"mellum-eval\[lm-eval\]\"`"):
        registry.get("lm_eval:arc_easy").problems()
