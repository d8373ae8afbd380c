"""Decoding steps for `transformers` generation in batches whose rows are independent of each other.

`generate(do_sample=True)` draws all rows from one generator, so a sample would depend on its neighbours in the batch.
Here every row has a generator of its own and the draw is an argmax: a token of probability p is drawn if it has the
largest p / e, where e is a standard exponential variate (the Gumbel-max trick), so `generate` itself decodes greedily.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from suites.sampling import Sampling

if TYPE_CHECKING:
    import torch


class RowSampler:
    """A logits processor: each row drawn by its own temperature, top-k, top-p and seed."""

    def __init__(self, rows: Sequence[Sampling], device: torch.device) -> None:
        import torch

        self._rows = rows
        self._generators = [torch.Generator(device=device).manual_seed(row.seed) for row in rows]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores [rows, vocabulary] whose argmax is the drawn token."""
        import torch

        drawn = scores.float().clone()
        for index, (row, generator) in enumerate(zip(self._rows, self._generators, strict=True)):
            if row.temperature == 0.0:
                continue
            logits = keep_likely(drawn[index] / row.temperature, row.top_k, row.top_p)
            noise = torch.empty_like(logits).exponential_(generator=generator)
            drawn[index] = torch.log_softmax(logits, dim=-1) - noise.log()
        return drawn


def keep_likely(logits: torch.Tensor, top_k: int, top_p: float) -> torch.Tensor:
    """Logits [vocabulary] with all but the k likeliest, and all beyond the nucleus of mass p, at minus infinity."""
    import torch

    if 0 < top_k < logits.shape[-1]:
        kth = torch.topk(logits, top_k).values[-1]
        logits = logits.masked_fill(logits < kth, float("-inf"))
    if top_p < 1.0:
        ordered, order = torch.sort(logits, descending=True)
        before = torch.softmax(ordered, dim=-1).cumsum(-1) - torch.softmax(ordered, dim=-1)
        logits = logits.masked_fill((before >= top_p)[torch.argsort(order)], float("-inf"))
    return logits


class StopAtText:
    """A stopping criterion: a row ends when a stop string stands in what it generated, all end when asked to."""

    def __init__(self, tokenizer: Any, stops: Sequence[str], prompt_length: int, stop_all: threading.Event) -> None:
        self._tokenizer, self._stops, self._start, self._stop_all = tokenizer, stops, prompt_length, stop_all
        # A stop string spans at most as many tokens as it has bytes; two more for what its first token may hold before.
        self._tail = max((len(stop.encode()) for stop in stops), default=0) + 2

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        """Which rows [rows] are done."""
        import torch

        rows = input_ids.shape[0]
        if self._stop_all.is_set():
            return torch.ones(rows, dtype=torch.bool, device=input_ids.device)
        if not self._stops:
            return torch.zeros(rows, dtype=torch.bool, device=input_ids.device)
        tails = self._tokenizer.batch_decode(input_ids[:, max(self._start, input_ids.shape[1] - self._tail) :])
        found = [any(stop in tail for stop in self._stops) for tail in tails]
        return torch.tensor(found, dtype=torch.bool, device=input_ids.device)


def cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """The text before the first stop string, and whether there was one."""
    ends = [end for stop in stops if (end := text.find(stop)) >= 0]
    return (text[: min(ends)], True) if ends else (text, False)
