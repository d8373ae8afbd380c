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
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mellum_model import Mellum, MellumConfig, generate
from mellum_model.config import layer_pattern
from mellum_model.info import model_info
from mellum_model.model import LossWeights

GOALS = {"forward 4x512": 1.25, "train step 4x512": 1.25, "decode 128, batch 1": 4.0, "decode 128, batch 8": 3.0}


@dataclass
class Row:
    """One thing measured for several contestants."""

    name: str
    seconds: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    """CPU seconds of this process: with one thread, all but independent of what else the machine does."""
    tokens: int = 0
    busy: bool = False

    def best_other(self) -> str:
        return min((name for name in self.seconds if name != "ours"), key=lambda name: self.median(name))

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def cpu_speedup(self) -> float:
        own, other = statistics.median(self.cpu["ours"]), statistics.median(self.cpu[self.best_other()])
        return other / own


def foreign_load() -> float:
    """Share of all CPUs that is used while this process sleeps."""

    def used() -> tuple[float, float]:
        fields = [float(value) for value in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
        return sum(fields), fields[3] + fields[4]

    before = used()
    time.sleep(0.3)
    after = used()
    return 1 - (after[1] - before[1]) / max(after[0] - before[0], 1e-9)


def measure(name: str, contestants: dict[str, Callable[[], Any]], samples: int, tokens: int, device: str) -> Row:
    """Alternate the contestants; one unmeasured round first."""
    row = Row(name, {key: [] for key in contestants}, {key: [] for key in contestants}, tokens, foreign_load() > 0.1)
    for turn in range(samples + 1):
        for key, run in contestants.items():
            if device != "cpu":
                torch.cuda.synchronize()
            begin, begin_cpu = time.perf_counter(), time.process_time()
            run()
            if device != "cpu":
                torch.cuda.synchronize()
            if turn:
                row.seconds[key].append(time.perf_counter() - begin)
                row.cpu[key].append(time.process_time() - begin_cpu)
    return row


def cpu_config() -> MellumConfig:
    return replace(MellumConfig.nano(long_context=True), num_mtp_layers=0)


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


def walk(steps: int, rows: int, generator: torch.Generator) -> torch.Tensor:
    """Text with something to learn and something left open: 64 words in a fixed cycle, the first of every four free."""
    start = torch.randint(0, 64, (rows, -(-steps // 4), 1), generator=generator)
    return ((start + torch.arange(4) * 17) % 64).flatten(1)[:, :steps] + 100


def trained_drafter(args: argparse.Namespace) -> tuple[Mellum, torch.Generator]:
    """The CPU shape with an MTP head, trained on `walk` until it drafts well."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = Mellum(replace(cpu_config(), num_mtp_layers=1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    for step in range(args.train_steps):
        ids = walk(96, 8, generator)
        loss = model.loss(ids, ids, weights=LossWeights(mtp=1.0, balance=0.01))
        loss.total.backward()
        optimizer.step()
        optimizer.zero_grad()
        if args.verbose and step % 20 == 0 and loss.mtp is not None and loss.mtp_agreement is not None:
            print(f"  step {step}: loss {float(loss.next_token):.3f}, mtp {float(loss.mtp):.3f}, "
                  f"agreement {float(loss.mtp_agreement):.3f}", file=sys.stderr)  # fmt: skip
    return model.eval(), generator


def speculative_rows(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Speculative decoding of one draft against our own plain decoding, with the bound (1 + a)/(1 + c)."""
    from mellum_model.cache import KVCache
    from mellum_model.compiled import decoder_for

    model, generator = trained_drafter(args)
    rows = []
    for batch in (1, 8):
        ids = walk(64, batch, generator)
        results: dict[bool, Any] = {}

        def run(speculative: bool, ids: torch.Tensor = ids, results: dict[bool, Any] = results) -> None:
            results[speculative] = generate(model, ids, max_new_tokens=128, speculative=speculative)

        row = measure(
            f"speculative 128, batch {batch}",
            {"plain": lambda: run(False), "ours": lambda: run(True)},
            args.samples,
            128 * batch,
            "cpu",
        )
        if results[True] != results[False]:
            raise SystemExit("speculative output differs from plain greedy output")
        cache = KVCache(model.config, slack=4, dtype=torch.float32)
        cache.reserve(batch, 256)
        decoder = decoder_for(model, cache)
        hidden = torch.zeros(batch, 1, model.config.hidden_size)
        token = ids[:, :1]
        places = [100] * batch

        @torch.inference_mode()
        def plain_step(decoder: Any = decoder, token: torch.Tensor = token, places: list[int] = places) -> None:
            decoder.logits(decoder.step(token, places))

        @torch.inference_mode()
        def draft_step(
            decoder: Any = decoder,
            token: torch.Tensor = token,
            hidden: torch.Tensor = hidden,
            places: list[int] = places,
        ) -> None:
            decoder.logits(decoder.mtp_step(token, hidden, places))

        costs = measure("draft cost", {"plain": plain_step, "draft": draft_step}, 40, 1, "cpu")
        a = sum(result.accepted for result in results[True]) / sum(result.drafted for result in results[True])
        c = costs.median("draft") / costs.median("plain")
        speedup = row.median("plain") / row.median("ours")
        bound = (1 + a) / (1 + c)
        rows.append(
            {
                "name": row.name,
                "plain_s": row.median("plain"),
                "speculative_s": row.median("ours"),
                "acceptance": a,
                "draft_cost": c,
                "bound": bound,
                "speedup": speedup,
                "of_bound": speedup / bound,
                "busy": row.busy,
            }
        )
    return rows


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
        for line in speculative_rows(args):
            found.append(line)
            if not args.json:
                print(f"{line['name']}: {line['speedup']:.2f}x over plain{'  busy' if line['busy'] else ''}")
                print(f"  acceptance a = {line['acceptance']:.3f}, draft cost c = {line['draft_cost']:.3f}")
                print(f"  bound (1+a)/(1+c) = {line['bound']:.2f}; {line['of_bound']:.0%} of it (goal 80 %)")
    if args.json:
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
