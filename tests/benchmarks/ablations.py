"""Muon against a tuned AdamW at equal tokens, MTP on and off, load balance on and off, FP8 emulated against float32.

    OMP_NUM_THREADS=1 python tests/benchmarks/ablations.py [--results FILE] [--runs N] [--steps N] [--seeds N]

A nano on a fixed mixture of the recipe's pre-training sources (no curriculum: held-out rows are of what is trained on,
from the same generators with other seeds). All variants of a seed see the same rows in the same order, so differences
are paired by seed. Peak learning rates of Muon and AdamW are tuned first, each on its own grid, on a seed that is not
reported.

Each run is a line of the results file, written as it ends, and what is there is not run again: a call can be killed at
any time, `--runs 3` does three more, and with the results that lie beside this file nothing is run and the table is
printed. Intervals are Student's t over seeds, 95 %: three seeds give wide ones.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from functools import cached_property
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
from mellum_model.training.loop import Stepper, evaluate
from mellum_model.training.optimisers import Optimisers
from mellum_model.training.prepare import build
from mellum_model.training.ranks import Ranks
from mellum_model.training.recipes import Recipe, Stage, load_recipe
from mellum_model.training.schedule import learning_rate

NANO = Path(__file__).resolve().parents[2] / "mellum_model" / "nano" / "base"
RESULTS = Path(__file__).with_name("results") / "ablations.jsonl"
STAGE = "stages.pretrain"
MIXTURE = {"stories": 25, "world": 10, "code": 35, "sums": 15, "ask_code": 5, "ask_math": 10}
TOKENS = 2048
"""Of a step: small, so that a run of a minute has enough steps for an optimiser to matter."""
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "adamw": {f"{STAGE}.optimiser.kind": "adamw"},
    "no_mtp": {f"{STAGE}.losses.mtp": 0.0},
    "no_balance": {f"{STAGE}.losses.balance": 0.0},
    "fp8": {f"{STAGE}.precision.fp8": "emulated"},
}
MEANING = {
    "base": "Muon, MTP 0.1, load balance 0.01, float32",
    "adamw": "AdamW instead of Muon",
    "no_mtp": "no MTP loss",
    "no_balance": "no load-balance loss",
    "fp8": "FP8 (emulated) instead of float32",
}
TUNED = {"muon": (2e-3, 4e-3, 8e-3), "adamw": (1e-3, 2e-3, 4e-3, 8e-3)}
TUNING_SEED = 1000
CURVE = 20
"""Points of the loss curve that are kept of a run, each a mean over its part."""


def recipe_of(variant: str, steps: int, peak: float, seed: int) -> Recipe:
    """The nano recipe with a variant's fields; expert width 96, because FP8 wants multiples of 16."""
    phase = {"name": "all", "share": 1.0, "mixture": MIXTURE, "fim": {"rate": 0.1}}
    fields = {
        "model.sizes.moe_intermediate_size": 96,
        f"{STAGE}.steps": steps,
        f"{STAGE}.seed": seed,
        f"{STAGE}.batch": {"tokens": TOKENS, "micro": TOKENS // 512},
        f"{STAGE}.data.phases": [phase],
        f"{STAGE}.data.filters.dedup.exact": False,  # a pass over all sources, which would take as long as a run
        f"{STAGE}.schedule": {
            "kind": "whd",
            "peak": peak,
            "warmup_steps": max(1, steps // 20),
            "decay_steps": steps // 4,
        },
    }
    return load_recipe("nano", {**fields, **VARIANTS[variant]})


def rows(stage: Stage, tokenizer: Tokenizer, count: int, shift: int) -> list[Batch]:
    """Steps of the mixture; `shift` moves every generator's seed, so that documents are others."""
    data = stage.data.model_dump()
    for source in data["sources"].values():
        source["options"] = {**source["options"], "seed": int(source["options"].get("seed", 0)) + shift}
    shifted = Stage.model_validate({**stage.model_dump(), "data": data})
    opened = open_stream(shifted, tokenizer, total_tokens=count * TOKENS, generators=generators())
    return [opened.stream.next_batch(TOKENS) for _ in range(count)]


def run(variant: str, peak: float, seed: int, batches: list[Batch], held_out: list[Batch]) -> dict[str, Any]:
    """Train one variant on given rows and evaluate it."""
    steps = len(batches)
    recipe = recipe_of(variant, steps, peak, seed)
    stage = recipe.stage("pretrain")
    model = build(recipe.model.config(), stage, Ranks())
    stepper = Stepper(model, stage, Optimisers(model, stage.optimiser), Ranks())
    begin = time.perf_counter()
    load = torch.zeros_like(stepper.load)
    losses = []
    for step, batch in enumerate(batches):
        losses.append(stepper.step(batch, learning_rate(stage.schedule, step, steps), step + 1)["loss"])
        load += stepper.load if step >= steps // 2 else 0
    share = load[: model.config.num_hidden_layers]
    share = share / share.mean(1, keepdim=True).clamp(min=1)
    seconds = time.perf_counter() - begin
    stepper.close()
    found = evaluate(model, held_out)
    return {
        "variant": variant, "seed": seed, "peak": peak, "steps": steps, "seconds": round(seconds, 1),
        "held_out": found["loss"], "labels": found["labels"], "mtp_agreement": found.get("mtp_agreement"),
        "idlest_expert": float(share.min()), "busiest_expert": float(share.max()),
        "curve": [round(float(np.mean(part)), 4) for part in np.array_split(losses, min(CURVE, steps))],
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


def interval(values: list[float], *, signed: bool = False) -> str:
    """Mean and half-width of Student's 95 % interval."""
    mean = f"{np.mean(values):{'+' if signed else ''}.4f}"
    if len(values) < 2:
        return mean
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{mean} ± {half:.4f}"


def table(results: Results, steps: int, peaks: dict[str, float], seeds: range) -> str:
    """Held-out loss of each variant, and its difference to the base by seed."""
    head = "| | peak | held-out loss | difference to base | idlest expert | busiest | s a run |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    base = {seed: results.find(variant="base", seed=seed, steps=steps, peak=peaks["muon"]) for seed in seeds}
    for variant in VARIANTS:
        peak = peaks["adamw" if variant == "adamw" else "muon"]
        found = [results.find(variant=variant, seed=seed, steps=steps, peak=peak) for seed in seeds]
        done = [row for row in found if row is not None]
        if not done:
            continue
        apart = [row["held_out"] - one["held_out"] for row in done if (one := base[row["seed"]]) is not None]
        lines.append(
            f"| {MEANING[variant]} | {peak:g} | {interval([row['held_out'] for row in done])} "
            f"| {'' if variant == 'base' or not apart else interval(apart, signed=True)} "
            f"| {np.mean([row['idlest_expert'] for row in done]):.2f} "
            f"| {np.mean([row['busiest_expert'] for row in done]):.2f} "
            f"| {np.mean([row['seconds'] for row in done]):.0f} |"
        )
    return "\n".join(lines)


class Enough(Exception):
    """As many runs as this call was to make are done."""


class Bench:
    """Runs what is missing, and gives what is there."""

    def __init__(self, results: Results, steps: int, runs: int | None) -> None:
        self.results, self.steps, self.left = results, steps, runs
        self._kept: tuple[int, list[Batch]] | None = None

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.load(NANO)

    @cached_property
    def held_out(self) -> list[Batch]:
        return rows(recipe_of("base", self.steps, 1.0, 0).stage("pretrain"), self.tokenizer, 16, 777)

    def batches(self, seed: int) -> list[Batch]:
        if self._kept is None or self._kept[0] != seed:
            stage = recipe_of("base", self.steps, 1.0, 0).stage("pretrain")
            self._kept = (seed, rows(stage, self.tokenizer, self.steps, 10 * (seed + 1)))
        return self._kept[1]

    def once(self, variant: str, peak: float, seed: int) -> dict[str, Any]:
        row = self.results.find(variant=variant, seed=seed, steps=self.steps, peak=peak)
        if row is None:
            if self.left is not None and self.left < 1:
                raise Enough
            self.left = None if self.left is None else self.left - 1
            row = run(variant, peak, seed, self.batches(seed), self.held_out)
            self.results.add(row)
            print(json.dumps({**row, "curve": row["curve"][-1]}), file=sys.stderr)
        return row

    def tuned(self) -> dict[str, float]:
        """The best peak of each optimiser."""
        peaks = {}
        for kind, variant in (("muon", "base"), ("adamw", "adamw")):
            tried = {peak: self.once(variant, peak, TUNING_SEED)["held_out"] for peak in TUNED[kind]}
            peaks[kind] = min(tried, key=lambda peak: tried[peak])
            print(f"Tuning {kind}: " + ", ".join(f"{peak:g} {loss:.4f}" for peak, loss in tried.items()))
        return peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--results", type=Path, default=RESULTS, help="another file starts anew")
    parser.add_argument("--runs", type=int, metavar="N", help="stop after so many that were not there")
    parser.add_argument("--steps", type=int, default=140, help="of every run, 2,048 tokens each")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    args.results.parent.mkdir(parents=True, exist_ok=True)
    results = Results(args.results)
    bench = Bench(results, args.steps, args.runs)
    try:
        peaks = bench.tuned()
        for seed in range(args.seeds):
            for variant in VARIANTS:
                bench.once(variant, peaks["adamw" if variant == "adamw" else "muon"], seed)
    except Enough:
        print(f"{args.results}: {len(results.rows)} runs; more are missing", file=sys.stderr)
        sys.exit(1)
    print(f"\n{args.steps} steps of {TOKENS:,} tokens, {args.seeds} seeds, 95 % intervals\n")
    print(table(results, args.steps, peaks, range(args.seeds)))


if __name__ == "__main__":
    main()
