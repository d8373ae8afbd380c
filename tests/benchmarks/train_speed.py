"""Training tokens a second, ours against `transformers` with AdamW, in one run; and Muon's share of a step.

    OMP_NUM_THREADS=2 python tests/benchmarks/train_speed.py [--seconds 60] [--tokens 2048] [--json]

The same weights (hidden 256, 8 layers, 16 experts top-4, vocabulary 4,096, float32), the same rows, forward, backward,
clipping and update; samples of the contestants alternate, so that a change of the machine's load meets all of them.
`transformers` runs without an MTP head, which it cannot train; ours is timed without one too, and with it apart.

Muon's cost does not depend on the batch: its share is given at the step's tokens, and worked out for other sizes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mellum_model import Mellum, MellumConfig
from mellum_model.training.batch import Batch
from mellum_model.training.loop import Stepper
from mellum_model.training.optimisers import Optimisers
from mellum_model.training.ranks import Ranks
from mellum_model.training.recipes import Stage, load_recipe
from tests.benchmarks.measuring import cpu_config, foreign_load
from tests.benchmarks.model_speed import theirs


def stage(kind: str, length: int, rows: int, mtp: bool) -> Stage:
    """The nano recipe's first stage at this benchmark's size."""
    data = load_recipe("nano").stage("pretrain").model_dump()
    data |= {"sequence_length": length, "steps": 1000, "tokens": None}
    data["batch"] = {"tokens": length * rows, "micro": min(rows, 4)}
    data["optimiser"]["kind"] = kind
    data["losses"] = {"mtp": 0.1 if mtp else 0.0, "balance": 1e-3, "z": 0.0}
    return Stage.model_validate(data)


def ours(config: MellumConfig, plan: Stage, batch: Batch) -> tuple[Callable[[], Any], Optimisers]:
    """One step of the loop itself."""
    torch.manual_seed(0)
    model = Mellum(config)
    optimisers = Optimisers(model, plan.optimiser)
    stepper = Stepper(model, plan, optimisers, Ranks())
    return lambda: stepper.step(batch, 1e-6, 1), optimisers


def other(module: Any, batch: Batch, micro: int) -> Callable[[], Any]:
    """The same step as a user of `transformers` writes it."""
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-6, weight_decay=0.1, fused=True)
    parts = -(-batch.rows // micro)

    def step() -> None:
        for part in batch.micro(micro):
            found = module(part.input_ids, labels=part.labels, output_router_logits=True)
            (found.loss / parts).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60.0, help="of measuring, all contestants together")
    parser.add_argument("--tokens", type=int, default=2048, help="of a step; rows are 512 long")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "2")))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    length, rows = 512, max(1, args.tokens // 512)
    config = cpu_config()
    ids = torch.randint(0, config.vocab_size, (rows, length), generator=torch.Generator().manual_seed(0))
    batch = Batch(ids, ids)
    with_head = replace(config, num_mtp_layers=1)
    muon, optimisers = ours(config, stage("muon", length, rows, False), batch)
    contestants = {
        "ours, Muon": muon,
        "ours, AdamW": ours(config, stage("adamw", length, rows, False), batch)[0],
        "ours, Muon, MTP head": ours(with_head, stage("muon", length, rows, True), batch)[0],
    }
    torch.manual_seed(0)
    hub = theirs(Mellum(config), "cpu")
    contestants |= {f"{name}, AdamW": other(module.train(), batch, 4) for name, module in hub.items()}
    busy = foreign_load() > 0.1
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for step in contestants.values():
        step()
    until = time.perf_counter() + args.seconds
    while time.perf_counter() < until or not all(seconds.values()):
        for name, step in contestants.items():
            begin = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    updates = []
    for parameter in (parameter for group in optimisers.groups() for parameter in group["params"]):
        parameter.grad = torch.randn_like(parameter)
    assert optimisers.muon is not None
    for _ in range(5):
        begin = time.perf_counter()
        optimisers.muon.step()
        updates.append(time.perf_counter() - begin)
    update = statistics.median(updates)
    tokens = rows * length
    best = min((name for name in medians if name.startswith("transformers")), key=lambda name: medians[name])
    rest = medians["ours, Muon"] - update
    found = {
        "tokens_a_step": tokens,
        "tokens_per_s": {name: tokens / median for name, median in medians.items()},
        "samples": {name: len(times) for name, times in seconds.items()},
        "ours_over_transformers": medians[best] / medians["ours, Muon"],
        "ours_adamw_over_transformers": medians[best] / medians["ours, AdamW"],
        "muon_s": update,
        "muon_share": update / medians["ours, Muon"],
        "muon_share_at_64k_tokens": update / (update + rest * 65_536 / tokens),
        "busy": busy,
    }
    if args.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{tokens:,} tokens a step, {args.threads} threads{', BUSY machine: run it again' if busy else ''}")
    for name, rate in found["tokens_per_s"].items():
        print(f"  {name:<34}{rate:>10,.0f} tok/s   median of {found['samples'][name]}")
    print(f"  ours with Muon over {best}: {found['ours_over_transformers']:.2f}x")
    print(f"  ours with AdamW over {best}: {found['ours_adamw_over_transformers']:.2f}x")
    print(
        f"  Muon: {update:.3f} s, {found['muon_share']:.1%} of a step of {tokens:,} tokens, "
        f"{found['muon_share_at_64k_tokens']:.1%} of one of 65,536"
    )


if __name__ == "__main__":
    main()
