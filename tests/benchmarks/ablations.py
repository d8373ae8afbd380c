"""Muon against a tuned AdamW at equal tokens, MTP on and off, load balance on and off, FP8 emulated against float32.

    OMP_NUM_THREADS=2 python tests/benchmarks/ablations.py [--seconds 120 | --steps N] [--out DIR] [--only NAME,…]

The nano recipe's pre-training data, the same rows in the same order for all variants of a seed; held-out rows are of
the same sources with other seeds. Peak learning rates of Muon and AdamW are tuned first, each on its own grid, on a
seed that is not reported. Every run has the same number of steps: as many as the base needs `--seconds` for.

Results are appended to DIR/ablations.jsonl as they come, and what is there is not run again: the table of DIR can be
had at any time. Intervals are Student's t over seeds, 95 %; differences are paired by seed. Three seeds give wide ones.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mellum_eval.cli.training_sources import generators
from mellum_model.tokenizer import Tokenizer
from mellum_model.training.batch import Batch
from mellum_model.training.data import open_stream
from mellum_model.training.data.vocabulary import learn_tokenizer
from mellum_model.training.loop import Stepper, evaluate
from mellum_model.training.optimisers import Optimisers
from mellum_model.training.prepare import build
from mellum_model.training.ranks import Ranks
from mellum_model.training.recipes import Recipe, Stage, load_recipe
from mellum_model.training.schedule import learning_rate

STAGE = "stages.pretrain"
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "adamw": {f"{STAGE}.optimiser.kind": "adamw"},
    "no_mtp": {f"{STAGE}.losses.mtp": 0.0},
    "no_balance": {f"{STAGE}.losses.balance": 0.0},
    "fp8": {f"{STAGE}.precision.fp8": "emulated"},
}
TUNED = {"muon": (2e-3, 4e-3, 8e-3), "adamw": (1e-3, 2e-3, 4e-3, 8e-3)}
TUNING_SEED = 1000


def recipe_of(variant: str, steps: int, peak: float, seed: int) -> Recipe:
    """The nano recipe with a variant's fields; expert width 96, because FP8 wants multiples of 16."""
    fields = {
        "model.sizes.moe_intermediate_size": 96,
        f"{STAGE}.steps": steps,
        f"{STAGE}.seed": seed,
        f"{STAGE}.schedule": {
            "kind": "whd",
            "peak": peak,
            "warmup_steps": max(1, steps // 20),
            "decay_steps": steps // 4,
        },
    }
    return load_recipe("nano", {**fields, **VARIANTS[variant]})


def rows(stage: Stage, tokenizer: Tokenizer, count: int, tokens: int, shift: int) -> Iterator[Batch]:
    """Batches of the recipe's mixture; `shift` moves every generator's seed, so that documents are others."""
    data = stage.data.model_dump()
    for source in data["sources"].values():
        source["options"] = {**source["options"], "seed": int(source["options"].get("seed", 0)) + shift}
    shifted = Stage.model_validate({**stage.model_dump(), "data": data})
    opened = open_stream(shifted, tokenizer, total_tokens=count * tokens, generators=generators())
    for _ in range(count):
        yield opened.stream.next_batch(tokens)


def run(variant: str, peak: float, seed: int, batches: list[Batch], held_out: list[Batch]) -> dict[str, Any]:
    """Train one variant on given rows and evaluate it."""
    steps = len(batches)
    recipe = recipe_of(variant, steps, peak, seed)
    stage = recipe.stage("pretrain")
    model = build(recipe.model.config(), stage, Ranks())
    stepper = Stepper(model, stage, Optimisers(model, stage.optimiser), Ranks())
    begin = time.perf_counter()
    load = torch.zeros_like(stepper.load)
    for step, batch in enumerate(batches):
        values = stepper.step(batch, learning_rate(stage.schedule, step, steps), step + 1)
        load += stepper.load if step >= steps // 2 else 0
    share = load[: model.config.num_hidden_layers]
    share = share / share.mean(1, keepdim=True).clamp(min=1)
    seconds = time.perf_counter() - begin
    stepper.close()
    found = evaluate(model, held_out)
    return {
        "variant": variant, "seed": seed, "peak": peak, "steps": steps, "seconds": seconds,
        "train_loss": values["loss"], "held_out": found["loss"], "mtp_agreement": found.get("mtp_agreement"),
        "idlest_expert": float(share.min()), "busiest_expert": float(share.max()),
    }  # fmt: skip


class Results:
    """Runs by what they were, on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = path.read_text("utf-8") if path.is_file() else ""
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def find(self, **wanted: Any) -> dict[str, Any] | None:
        return next((row for row in self.rows if all(row[key] == value for key, value in wanted.items())), None)

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def interval(values: list[float]) -> str:
    """Mean and half-width of Student's 95 % interval."""
    if len(values) < 2:
        return f"{np.mean(values):.4f}"
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):.4f} ± {half:.4f}"


def table(results: Results, steps: int, peaks: dict[str, float], seeds: range) -> str:
    """Held-out loss of each variant, and its difference to the base by seed."""
    head = "| variant | peak | held-out loss | difference to base | idlest expert, even shares | s a run |"
    lines = [head, "|---|---|---|---|---|---|"]
    for variant in VARIANTS:
        peak = peaks["adamw" if variant == "adamw" else "muon"]
        found = [results.find(variant=variant, seed=seed, steps=steps, peak=peak) for seed in seeds]
        done = [row for row in found if row is not None]
        if not done:
            continue
        base = {row["seed"]: row["held_out"] for row in results.rows
                if row["variant"] == "base" and row["steps"] == steps and row["peak"] == peaks["muon"]}  # fmt: skip
        apart = [row["held_out"] - base[row["seed"]] for row in done if row["seed"] in base]
        lines.append(
            f"| {variant} | {peak:g} | {interval([row['held_out'] for row in done])} "
            f"| {'' if variant == 'base' or not apart else interval(apart)} "
            f"| {interval([row['idlest_expert'] for row in done])} | {np.mean([row['seconds'] for row in done]):.0f} |"
        )
    return "\n".join(lines)


def calibrated(seconds: float, tokenizer: Tokenizer) -> int:
    """Steps that the base does in that time."""
    stage = recipe_of("base", 100, 4e-3, 0).stage("pretrain")
    batches = list(rows(stage, tokenizer, 6, stage.batch.tokens, 0))
    run("base", 4e-3, 0, batches[:2], batches[:1])
    return max(8, int(seconds / (run("base", 4e-3, 0, batches, batches[:1])["seconds"] / 6)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=120.0, help="of a run of the base; at most 300")
    parser.add_argument("--steps", type=int, help="of every run, instead of --seconds")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default=",".join(VARIANTS))
    parser.add_argument("--no-tuning", action="store_true", help="keep peaks of 4e-3 (Muon) and 2e-3 (AdamW)")
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    args.out.mkdir(parents=True, exist_ok=True)
    results = Results(args.out / "ablations.jsonl")
    if not (args.out / "tokenizer.json").is_file():
        plain = load_recipe("nano")
        learn_tokenizer(plain, plain.model.config().vocab_size, generators=generators()).save(args.out)
    tokenizer = Tokenizer.load(args.out)
    steps_file = args.out / "steps"
    if args.steps is None and not steps_file.is_file():
        steps_file.write_text(str(calibrated(min(args.seconds, 300.0), tokenizer)), "utf-8")
    steps = args.steps or int(steps_file.read_text("utf-8"))
    stage = recipe_of("base", steps, 4e-3, 0).stage("pretrain")
    held_out = list(rows(stage, tokenizer, 8, stage.batch.tokens, 777))

    def once(variant: str, peak: float, seed: int, batches: list[Batch]) -> dict[str, Any]:
        row = results.find(variant=variant, seed=seed, steps=steps, peak=peak)
        if row is None:
            row = run(variant, peak, seed, batches, held_out)
            results.add(row)
            print(json.dumps(row), file=sys.stderr)
        return row

    peaks = {"muon": 4e-3, "adamw": 2e-3}
    if not args.no_tuning:
        batches = list(rows(stage, tokenizer, steps, stage.batch.tokens, TUNING_SEED))
        for kind, variant in (("muon", "base"), ("adamw", "adamw")):
            tried = {peak: once(variant, peak, TUNING_SEED, batches)["held_out"] for peak in TUNED[kind]}
            peaks[kind] = min(tried, key=lambda peak: tried[peak])
            print(f"{kind}: " + ", ".join(f"{peak:g}: {loss:.4f}" for peak, loss in tried.items()), file=sys.stderr)
    for seed in range(args.seeds):
        batches = list(rows(stage, tokenizer, steps, stage.batch.tokens, 10 * (seed + 1)))
        for variant in args.only.split(","):
            once(variant, peaks["adamw" if variant == "adamw" else "muon"], seed, batches)
    print(f"{steps} steps of {stage.batch.tokens:,} tokens, {args.seeds} seeds, 95 % intervals\n")
    print(table(results, steps, peaks, range(args.seeds)))


if __name__ == "__main__":
    main()
