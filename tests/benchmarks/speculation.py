"""Speculative decoding on CPU against our own plain decoding; `model_speed.py` runs and prints it.

The MTP head is trained together with the trunk for a minute on the kind of text that is then continued (`walk`), so its
acceptance says nothing of a real model's: what is measured is how much of what an acceptance allows is reached.
With one thread CPU time is taken, which other processes hardly touch, with more the clock's.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from mellum_model import Mellum, Sampling
from mellum_model.cache import KVCache
from mellum_model.compiled import CompiledDecoder, decoder_for
from mellum_model.decode import Decoder
from mellum_model.engine import Engine
from mellum_model.model import LossWeights
from mellum_model.requests import Generated
from tests.benchmarks.measuring import cpu_config, foreign_load


def walk(steps: int, rows: int, generator: torch.Generator) -> torch.Tensor:
    """Text with something to learn and something left open: 64 words in a fixed cycle, the first of every four free."""
    start = torch.randint(0, 64, (rows, -(-steps // 4), 1), generator=generator)
    return ((start + torch.arange(4) * 17) % 64).flatten(1)[:, :steps] + 100


def trained_drafter(steps: int, *, verbose: bool = False) -> tuple[Mellum, torch.Generator]:
    """The CPU shape with an MTP head, trained on `walk` until it drafts well."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = Mellum(replace(cpu_config(), num_mtp_layers=1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    for step in range(steps):
        ids = walk(96, 8, generator)
        loss = model.loss(ids, ids, weights=LossWeights(mtp=1.0, balance=0.01))
        loss.total.backward()
        optimizer.step()
        optimizer.zero_grad()
        if verbose and step % 20 == 0 and loss.mtp is not None and loss.mtp_agreement is not None:
            print(f"  step {step}: loss {float(loss.next_token):.3f}, mtp {float(loss.mtp):.3f}, "
                  f"agreement {float(loss.mtp_agreement):.3f}", file=sys.stderr)  # fmt: skip
    return model.eval(), generator


@dataclass
class Rounds:
    """Time of a generation's parts: prompts, then the steps of which each round is one."""

    prompt: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    rounds: int = 0
    clock: Callable[[], float] = time.perf_counter
    results: list[Generated] = field(default_factory=list)

    def run(self, model: Mellum, ids: torch.Tensor, speculative: bool) -> None:
        engine = Engine(model, speculative=speculative)
        for prompt in ids.tolist():
            engine.submit(prompt, Sampling(max_new_tokens=128))
        begin = self.clock()
        found = engine.step()  # prompts, and one round
        middle, self.rounds = self.clock(), 0
        while engine.busy:
            found += engine.step()
            self.rounds += 1
        self.prompt.append(middle - begin)
        self.steps.append(self.clock() - middle)
        self.results = [delta.result for delta in sorted(found, key=lambda delta: delta.index) if delta.result]


def weights_read(model: Mellum, tokens: torch.Tensor, together: int) -> float:
    """Mean bytes of the distinct weights that a step over rows of `tokens` [B, T] reads, `together` tokens a row.

    Routing is that of a forward over these tokens. Embeddings, of which a step reads a row a token, are not counted.
    """
    chosen: list[torch.Tensor] = []
    layers: list[Any] = list(model.layers)

    def keep(_router: Any, _given: Any, out: tuple[torch.Tensor, ...]) -> None:
        chosen.append(out[2].view(*tokens.shape, -1))

    hooks = [layer.mlp.gate.register_forward_hook(keep) for layer in layers]
    with torch.no_grad():
        model(tokens)
    for hook in hooks:
        hook.remove()
    experts = layers[0].mlp.experts
    each = int(experts.gate_up_proj[0].nbytes + experts.down_proj[0].nbytes)
    total = sum(p.nbytes for name, p in model.named_parameters() if not name.startswith(("mtp.", "embed_tokens.")))
    always = total - len(layers) * model.config.num_experts * each
    steps = range(tokens.shape[1] - together + 1)
    distinct = [len(set(layer[:, step : step + together].flatten().tolist())) for layer in chosen for step in steps]
    return always + len(layers) * statistics.mean(distinct) * each


def step_costs(
    decoder: Decoder | CompiledDecoder, text: torch.Tensor, states: torch.Tensor, clock: Callable[[], float]
) -> dict[str, float]:
    """What a step of each kind takes on tokens of `text` [B, T], logits included, in the company that it keeps.

    Plain steps follow one another, and drafts and verifications take turns: where all weights that a plain step reads
    fit a cache and those of a round do not, the one is faster among its like than anything is in between.
    """
    places = [130] * len(text)
    turns = itertools.count()
    times: dict[str, list[float]] = {"plain": [], "draft": [], "verify": []}

    def run(kind: str) -> None:
        begin = next(turns) % (text.shape[1] - 1)
        if kind == "draft":
            decoder.logits(decoder.draft(text[:, begin : begin + 1].tolist(), states, places))
        else:
            length = 1 if kind == "plain" else 2
            decoder.logits(decoder.step(text[:, begin : begin + length], places))

    for kinds in (("plain",), ("draft", "verify")) * 6:
        for turn in range(24):
            for kind in kinds:
                begin = clock()
                run(kind)
                if turn >= 2:
                    times[kind].append(clock() - begin)
    return {kind: statistics.median(own) for kind, own in times.items()}


def speculative_rows(samples: int, train_steps: int, *, verbose: bool = False) -> list[dict[str, Any]]:
    """Speculative decoding of one draft against our own plain decoding, beside two bounds.

    With acceptance a and a draft that takes c plain steps, (1 + a)/(1 + c) is reached where a verification takes no
    longer than a plain step, and (1 + a)/(v + c) where it takes v times as long: as the weights are that it reads.
    """
    model, generator = trained_drafter(train_steps, verbose=verbose)
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    rows = []
    for batch in (1, 8):
        ids = walk(64, batch, generator)
        busy = foreign_load() > 0.1
        plain, drafted = Rounds(clock=clock), Rounds(clock=clock)
        for _ in range(samples):
            plain.run(model, ids, False)
            drafted.run(model, ids, True)
        if plain.results != drafted.results:
            raise SystemExit("speculative output differs from plain greedy output")
        text = torch.cat((ids, torch.tensor([result.tokens for result in plain.results])), 1)
        cache = KVCache(model.config, slack=4, dtype=torch.float32)
        cache.reserve(batch, 256)
        decoder = decoder_for(model, cache)
        with torch.inference_mode():
            decoder.prompts(ids.tolist(), 0, draft=True)
            states = decoder.step(text[:, 62:64], [62] * batch)
            costs = step_costs(decoder, text[:, 64:], states, clock)
        a = sum(result.accepted for result in drafted.results) / sum(result.drafted for result in drafted.results)
        c = costs["draft"] / costs["plain"]
        traffic = weights_read(model, text[:, 64:], 2) / weights_read(model, text[:, 64:], 1)
        median = statistics.median
        speedup = median(plain.steps) / median(drafted.steps)
        whole = median(plain.prompt) + median(plain.steps), median(drafted.prompt) + median(drafted.steps)
        round_time = median(drafted.steps) / drafted.rounds / (median(plain.steps) / plain.rounds)
        rows.append(
            {
                "name": f"speculative 128, batch {batch}",
                "plain_s": whole[0],
                "speculative_s": whole[1],
                "plain_step_s": median(plain.steps) / plain.rounds,
                "speculative_round_s": median(drafted.steps) / drafted.rounds,
                "acceptance": a,
                "draft_cost": c,
                "verify_cost": costs["verify"] / costs["plain"],
                "verify_traffic": traffic,
                "round": round_time,
                "bound": (1 + a) / (1 + c),
                "traffic_bound": (1 + a) / (traffic + c),
                "speedup": speedup,
                "whole_speedup": whole[0] / whole[1],
                "of_bound": speedup * (1 + c) / (1 + a),
                "of_traffic_bound": speedup * (traffic + c) / (1 + a),
                "busy": busy,
            }
        )
    return rows


def show_speculative(line: dict[str, Any]) -> None:
    print(
        f"{line['name']}: {line['speedup']:.2f}x over plain in the steps, {line['whole_speedup']:.2f}x with the prompts"
        f"{'  busy' if line['busy'] else ''}"
    )
    print(
        f"  a plain step {line['plain_step_s'] * 1e3:.2f} ms; in such steps a draft c = {line['draft_cost']:.3f}, "
        f"a verification {line['verify_cost']:.2f}, a round {line['round']:.2f}; acceptance "
        f"a = {line['acceptance']:.3f}"
    )
    print(f"  bound (1+a)/(1+c) = {line['bound']:.2f}; {line['of_bound']:.0%} of it (goal 80 %)")
    print(
        f"  a verification reads v = {line['verify_traffic']:.2f} times the weights of a plain step: bound "
        f"(1+a)/(v+c) = {line['traffic_bound']:.2f}; {line['of_traffic_bound']:.0%} of it"
    )
