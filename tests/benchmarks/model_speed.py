"""Ours against `transformers`, in one run on the same machine and the same weights.

    OMP_NUM_THREADS=2 python tests/benchmarks/model_speed.py [--only forward,train,decode,speculative] [--json]

On CPU: hidden 256, 8 layers, 16 experts top-4, vocabulary 4,096, float32 (17.9 M parameters). `transformers` runs with
both of its expert paths that are usable, and the faster one counts. Samples of the contestants alternate, so that a
change of the machine's load meets all of them; the median and the best of each are shown. Rows begun while other
processes use the CPUs are marked `busy`: run it again on an idle machine before believing them.

On CUDA, with --device cuda: bfloat16 at Mellum 2's layer shape (hidden 2304, 64 experts top-8), four layers, with MFU.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mellum_model import Mellum, MellumConfig, generate
from mellum_model.config import layer_pattern
from mellum_model.info import model_info
from mellum_model.model import LossWeights
from tests.benchmarks.measuring import Row, cpu_config, measure
from tests.benchmarks.speculation import show_speculative, speculative_rows

GOALS = {"forward 4x512": 1.25, "train step 4x512": 1.25, "decode 128, batch 1": 4.0, "decode 128, batch 8": 3.0}


def cuda_config() -> MellumConfig:
    layers = 4
    return replace(
        MellumConfig.mellum2_12b(), num_hidden_layers=layers, layer_types=layer_pattern(layers), vocab_size=32_768
    )


def theirs(model: Mellum, device: str) -> dict[str, Any]:
    """The same weights in `transformers`, with each of its expert paths."""
    from transformers import MellumForCausalLM

    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return {
            f"transformers {path}": MellumForCausalLM.from_pretrained(
                folder, dtype=model.dtype, experts_implementation=path
            )
            .to(device)
            .eval()
            for path in ("grouped_mm", "eager")
        }


def forward_row(model: Mellum, others: dict[str, Any], args: argparse.Namespace) -> Row:
    ids = torch.randint(0, model.config.vocab_size, (4, args.length), device=args.device)

    def run(module: Any) -> Callable[[], Any]:
        def inner() -> Any:
            with torch.no_grad():
                return module(ids)

        return inner

    contestants = {"ours": run(model), **{name: run(other) for name, other in others.items()}}
    return measure(f"forward 4x{args.length}", contestants, args.samples, ids.numel(), args.device)


def train_row(model: Mellum, others: dict[str, Any], args: argparse.Namespace) -> Row:
    """Forward, backward and AdamW, with the router's loss in the form that both have."""
    ids = torch.randint(0, model.config.vocab_size, (4, args.length), device=args.device)
    weights = LossWeights(balance=model.config.router_aux_loss_coef, balance_form="pooled")

    def ours() -> None:
        model.loss(ids, ids, weights=weights).total.backward()
        optimizers["ours"].step()
        optimizers["ours"].zero_grad()

    def run(name: str, other: Any) -> Callable[[], None]:
        def inner() -> None:
            other(ids, labels=ids, output_router_logits=True).loss.backward()
            optimizers[name].step()
            optimizers[name].zero_grad()

        return inner

    optimizers = {name: torch.optim.AdamW(m.parameters(), lr=1e-6) for name, m in {"ours": model, **others}.items()}
    contestants: dict[str, Callable[[], Any]] = {"ours": ours}
    contestants |= {name: run(name, other) for name, other in others.items()}
    return measure(f"train step 4x{args.length}", contestants, args.samples, ids.numel(), args.device)


def decode_row(model: Mellum, others: dict[str, Any], batch: int, args: argparse.Namespace) -> Row:
    ids = torch.randint(0, model.config.vocab_size, (batch, 64), device=args.device)

    def run(other: Any) -> Callable[[], Any]:
        options = {"max_new_tokens": 128, "do_sample": False, "pad_token_id": 0, "attention_mask": torch.ones_like(ids)}
        return lambda: other.generate(ids, **options)

    contestants: dict[str, Callable[[], Any]] = {"ours": lambda: generate(model, ids, max_new_tokens=128)}
    contestants |= {name: run(other) for name, other in others.items()}
    return measure(f"decode 128, batch {batch}", contestants, args.samples, 128 * batch, args.device)


def training_flops(config: MellumConfig, tokens: int, length: int) -> float:
    """6 per active weight and token (no embedding look-up), and attention's two products over the keys seen."""
    weights = model_info(config).active - config.vocab_size * config.hidden_size
    width = config.num_attention_heads * config.head_dim
    seen = sum(min(config.window(kind) or length, length / 2) for kind in config.layer_types)
    return tokens * (6 * weights + 3 * 4 * width * seen)


def show(row: Row, args: argparse.Namespace) -> dict[str, Any]:
    best = row.best_other()
    speedup = row.median(best) / row.median("ours")
    goal = GOALS.get(row.name)
    flags = f"  goal {goal}: {'met' if speedup >= goal else 'not met'}" if goal else ""
    flags += "  busy" if row.busy else ""
    if not args.json:
        print(f"{row.name}: {speedup:.2f}x, {row.cpu_speedup():.2f}x in CPU time{flags}")
        for name, seconds in row.seconds.items():
            median = statistics.median(seconds)
            rate = row.tokens / median
            print(f"  {name:<26} median {median:8.4f} s  best {min(seconds):8.4f} s  {rate:10,.0f} tok/s")
    medians = {name: row.median(name) for name in row.seconds}
    best_times = {name: min(seconds) for name, seconds in row.seconds.items()}
    found = {"name": row.name, "median_s": medians, "best_s": best_times, "speedup": speedup}
    return found | {"cpu_speedup": row.cpu_speedup(), "busy": row.busy}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--only", default="forward,train,decode,speculative")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--samples", type=int, default=7)
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "2")))
    parser.add_argument("--train-steps", type=int, default=150, help="of the drafter")
    parser.add_argument("--peak-tflops", type=float, default=989.0, help="dense bfloat16 peak of the GPU, for MFU")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    on_cpu = args.device == "cpu"
    args.length = 512 if on_cpu else 4096
    wanted = args.only.split(",")
    config = cpu_config() if on_cpu else cuda_config()
    found: list[dict[str, Any]] = []
    if {"forward", "train", "decode"} & set(wanted):
        model = Mellum(config, device=args.device, dtype=torch.float32 if on_cpu else torch.bfloat16).eval()
        others = theirs(model, args.device)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        if not args.json:
            print(f"{parameters:,} parameters, {model.dtype}, {args.device}, {args.threads} threads")
        if "forward" in wanted:
            found.append(show(forward_row(model, others, args), args))
        if "decode" in wanted:
            found += [
                show(decode_row(model, others, batch, args), args) for batch in ((1, 8) if on_cpu else (1, 8, 64))
            ]
        if "train" in wanted:
            row = train_row(model, others, args)
            found.append(show(row, args))
            if not on_cpu:
                rate = training_flops(config, row.tokens, args.length) / row.median("ours")
                found[-1]["mfu"] = rate / (args.peak_tflops * 1e12)
                print(f"  MFU {found[-1]['mfu']:.1%} of {args.peak_tflops} TFLOP/s (goal 30 %)")
    if "speculative" in wanted and on_cpu:
        for line in speculative_rows(args.samples, args.train_steps, verbose=args.verbose):
            found.append(line)
            if not args.json:
                show_speculative(line)
    if args.json:
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
