"""Measure the bundled checkpoints on the quick suites and write their model cards.

    python tests/benchmarks/nano_cards.py                     # measures what is bundled, rewrites the cards
    python tests/benchmarks/nano_cards.py training/nano       # first bundles what the recipe's stages made there
    python tests/benchmarks/nano_cards.py --rlvr-instruct DIR # first bundles the Instruct model that RLVR made there

Every figure of a card comes from the runs that this makes, under `runs/cards/`; with `--problems 500` from the suites'
variant `full`. Training logs go along as `training/STAGE.jsonl` and `STAGE.data_audit.json`.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NANO = ROOT / "mellum_model" / "nano"
STAGES = {"base": "long_context", "instruct-sft": "sft_instruct", "thinking-sft": "sft_thinking"}
RLVR = {"instruct": "rlvr_instruct", "thinking": "rlvr_thinking"}
"""Forms that went on from their fine-tuned one; their recipes are `nano_FORM_mixed`."""
STEP = ("kind", "step", "tokens", "loss", "mtp", "mtp_agreement", "balance", "lr", "grad_norm")
RLVR_STEP = (
    "kind", "step", "reward", "pass@1", "length", "entropy", "mismatch_kl", "dropped_even", "tampered", "tokens_learnt",
    "lr", "grad_norm",
)  # fmt: skip
SUITES = ("quick_code", "quick_math", "quick_tools", "quick_knowledge", "quick_safety", "quick_chat")
ABOUT = {
    "base": "the Base model: pre-training and the long-context stage; continues text, also with a gap to fill",
    "instruct": "the Instruct model: fine-tuned and then reinforced by the verifiers of all domains; answers at once",
    "instruct-sft": "the Instruct model before reinforcement learning: the Base model fine-tuned on conversations",
    "thinking": "the Thinking model: fine-tuned and then reinforced by the verifiers of all domains; thinks first",
    "thinking-sft": "the Thinking model before reinforcement learning: the Base model fine-tuned on reasoning",
}


def bundle(training: Path) -> None:
    """Copy what the stages made, and the logs of how."""
    logs = NANO / "training"
    logs.mkdir(exist_ok=True)
    for variant, stage in STAGES.items():
        shutil.rmtree(NANO / variant, ignore_errors=True)
        shutil.copytree(training / stage / "model", NANO / variant)
    for stage in ("pretrain", *STAGES.values()):
        shutil.copy(training / stage / "data_audit.json", logs / f"{stage}.data_audit.json")
        _logs(training / stage, stage, STEP, lambda start: start.parent.name)


def bundle_rlvr(run: Path, form: str) -> None:
    """Copy what an RLVR run made, and the log of how; its card is written by `main`."""
    shutil.rmtree(NANO / form, ignore_errors=True)
    shutil.copytree(run / "model", NANO / form)
    (NANO / form / "model.safetensors").chmod(0o644)
    _logs(run, RLVR[form], RLVR_STEP, lambda start: f"nano:{form}-sft")


def _logs(run: Path, stage: str, wanted: tuple[str, ...], named: Callable[[Path], str]) -> None:
    """What of a run's logs goes along: each step, and how it was begun."""
    logs = NANO / "training"
    kept = [_short(line, wanted) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    (logs / f"{stage}.jsonl").write_text("".join(line for line in kept if line), "utf-8")
    manifest = json.loads((run / "train.json").read_text("utf-8"))
    manifest.pop("recipe")  # mellum_model/recipes/
    manifest["command"] = re.sub(r" --out \S+", "", manifest["command"])
    manifest["start"] = manifest["start"] and named(Path(manifest["start"]))
    (logs / f"{stage}.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", "utf-8")


def _short(line: str, wanted: tuple[str, ...]) -> str:
    """A step's line with what a curve needs."""
    value = json.loads(line)
    if value["kind"] != "step":
        return ""
    kept = {name: value[name] for name in wanted if name in value}
    return (
        json.dumps({name: float(f"{one:.5g}") if isinstance(one, float) else one for name, one in kept.items()}) + "\n"
    )


def measure(variant: str, problems: int) -> dict[str, Any]:
    """A run of the quick suites; its `scores.json`."""
    model = "nano" if variant == "instruct" else f"nano:{variant}"
    out = ROOT / "runs" / "cards" / f"{variant}-{problems}"
    shutil.rmtree(out, ignore_errors=True)
    suites = [part for name in SUITES for part in ("-s", name if problems == 40 else f"{name}:full")]
    command = [sys.executable, "-m", "mellum_eval", "run", model, *suites, "--out", str(out)]
    if problems not in (40, 500):
        command += ["--limit", str(problems)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return dict(json.loads((out / "scores.json").read_text("utf-8")))


def card(variant: str, scores: dict[str, Any], problems: int) -> str:
    """The model card."""
    config = json.loads((NANO / variant / "config.json").read_text("utf-8"))
    tuned = f"{variant}-sft" if variant in RLVR else variant
    stages = ["pretrain", "long_context"] + ([STAGES[tuned]] if variant != "base" else [])
    lines = [
        "---", "license: apache-2.0", "library_name: transformers", "tags: [mellum, code]", "---", "",
        f"# nano: {ABOUT[variant]}", "",
        f"A Mellum 2 of every part of the large one ({config['num_hidden_layers']} layers S,S,S,F, "
        f"{config['num_attention_heads']} heads on {config['num_key_value_heads']}, "
        f"{config['num_local_experts']} experts of which {config['num_experts_per_tok']} work, an MTP head) in 1.9 M "
        f"parameters, {config['max_position_embeddings']:,} tokens of context. It exists so that everything in this "
        "repository can be tried on a laptop; it knows nothing of the world and is no assistant.", "",
        "## Training", "",
        "| stage | steps | tokens | last loss | command |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for stage in stages:
        logged = (NANO / "training" / f"{stage}.jsonl").read_text("utf-8").splitlines()
        last = [json.loads(line) for line in logged[-20:]]
        loss = sum(one["loss"] for one in last) / len(last)
        verb = {"pretrain": "pretrain", "long_context": "long-context"}.get(stage, f"sft --form {stage[4:]}")
        command = f"`mellum-eval train {verb} --recipe nano`"
        lines.append(f"| {stage} | {last[-1]['step']} | {last[-1]['tokens']:,} | {loss:.3f} | {command} |")
    if variant in RLVR:
        lines.append(_reinforced(variant))
    lines += [
        "", "Loss is the mean of the last 20 steps. The seed is the recipe's, 0; losses of every step and audits of "
        "the data are in `../training/`. All of the data was generated by this project; no held-out problem of any "
        "suite was in it.", "",
        "## Scores", "",
        f"Held-out problems, {problems} a suite, greedy, with 95 % intervals:", "",
        "| suite | score |", "|---|---|",
    ]  # fmt: skip
    for name, found in scores["suites"].items():
        metric, value = next(iter(found["metrics"].items()))
        low, high = value["ci95"]
        lines.append(f"| {name} ({metric}) | {value['value']:.1%} ({low:.1%} to {high:.1%}) |")
    more = "" if problems == 40 else f" --problems {problems}"
    lines += ["", f"Reproduced by `python tests/benchmarks/nano_cards.py{more}`.", ""]
    return "\n".join(lines)


def _reinforced(form: str) -> str:
    """The table's line of reinforcement learning: tokens are those learnt from, and there is no loss to compare."""
    logged = (NANO / "training" / f"{RLVR[form]}.jsonl").read_text("utf-8").splitlines()
    steps = [json.loads(line) for line in logged]
    tokens = sum(one.get("tokens_learnt", 0) for one in steps)
    command = f"`mellum-eval train rlvr --recipe nano_{form}_mixed`"
    return f"| {RLVR[form]} | {len(steps)} | {tokens:,} | | {command} |"


def main() -> None:
    """Bundle where asked, measure, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("training", type=Path, nargs="?")
    for form in RLVR:
        parser.add_argument(f"--rlvr-{form}", type=Path, metavar="DIR")
    parser.add_argument("--problems", type=int, default=40)
    options = parser.parse_args()
    if options.training is not None:
        bundle(options.training)
    for form in RLVR:
        if (run := getattr(options, f"rlvr_{form}")) is not None:
            bundle_rlvr(run, form)
    for variant in (*STAGES, *RLVR):
        scores = measure(variant, options.problems)
        (NANO / variant / "README.md").write_text(card(variant, scores, options.problems), "utf-8")
        print(variant, {name: next(iter(one["metrics"].values()))["value"] for name, one in scores["suites"].items()})


if __name__ == "__main__":
    main()
