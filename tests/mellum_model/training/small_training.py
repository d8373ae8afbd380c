"""A stage, a model and a stream, all small: text that can be learnt, made from a counter, resumable to the row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from mellum_model import MellumConfig
from mellum_model.config import FULL, SLIDING
from mellum_model.training.batch import Batch
from mellum_model.training.recipes import Stage

CONFIG = replace(
    MellumConfig.nano(),
    vocab_size=64,
    hidden_size=32,
    num_hidden_layers=2,
    layer_types=(SLIDING, FULL),
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=16,
    num_experts=4,
    num_experts_per_tok=2,
    moe_intermediate_size=16,
    sliding_window=8,
    max_position_embeddings=64,
)
LENGTH = 16


def stage(**changes: Any) -> Stage:
    """A short stage; dotted changes such as `optimiser__kind="adamw"`."""
    data: dict[str, Any] = {
        "sequence_length": LENGTH,
        "steps": 6,
        "batch": {"tokens": 8 * LENGTH, "micro": 4},
        "optimiser": {"muon": {"dtype": "float32"}},
        "schedule": {"kind": "whd", "peak": 0.01, "warmup_steps": 2, "decay_steps": 2},
        "precision": {"dtype": "float32"},
        "checkpoints": {"every_steps": 2},
        "data": {
            "sources": {"counter": {"kind": "generator", "name": "counter"}},
            "phases": [{"name": "only", "share": 1.0, "mixture": {"counter": 1}}],
        },
    }
    for key, value in changes.items():
        *path, last = key.split("__")
        place = data
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return Stage.model_validate(data)


class Counting:
    """Rows that count on from a random start by a random stride; `positions` cut each row into two documents."""

    def __init__(self, rows: int | None = None, *, packed: bool = False, rank: int = 0, ranks: int = 1) -> None:
        self.at, self.rows, self.packed, self.rank, self.ranks = 0, rows, packed, rank, ranks

    def next_batch(self, tokens: int) -> Batch:
        count = tokens // LENGTH
        if self.rows is not None and self.at + count > self.rows:
            raise StopIteration
        rows = torch.stack([self._row(self.at + place) for place in range(count)])[self.rank :: self.ranks]
        self.at += count
        labels = rows.clone()
        labels[:, ::7] = -100
        positions = None
        if self.packed:
            positions = torch.cat((torch.arange(6), torch.arange(LENGTH - 6))).expand(rows.shape).contiguous()
        return Batch(rows, labels, positions, sources={"counter": rows.numel()})

    def _row(self, number: int) -> torch.Tensor:
        draw = torch.Generator().manual_seed(number)
        start, stride = (int(value) for value in torch.randint(1, 8, (2,), generator=draw))
        return (start + stride * torch.arange(LENGTH)) % CONFIG.vocab_size

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.at = state["at"]

    @property
    def exhausted(self) -> bool:
        return self.rows is not None and self.at >= self.rows
