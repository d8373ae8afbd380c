"""A toy to reinforce: a tiny model, asked for nothing in particular, rewarded for even tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from mellum_model import Mellum, MellumConfig
from mellum_model.config import SLIDING
from mellum_model.post_training.rlvr.environment import GoOn, Judged, Reply, Split, Task
from mellum_model.post_training.rlvr.loop import Parts
from mellum_model.post_training.rlvr.recipe import RlvrRecipe
from mellum_model.post_training.rlvr.rollouts import NativeSampler

CONFIG = MellumConfig(
    vocab_size=24,
    hidden_size=16,
    num_hidden_layers=2,
    layer_types=(SLIDING, SLIDING),
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=8,
    num_experts=4,
    num_experts_per_tok=2,
    moe_intermediate_size=8,
    sliding_window=16,
    max_position_embeddings=48,
    num_mtp_layers=0,
)


class Evens:
    """The reward is the share of even tokens; every `lost`-th answer cannot be judged; two turns where asked."""

    def __init__(self, *, lost: int = 0, turns: int = 1, broken_after: int | None = None) -> None:
        self.lost, self.turns, self.broken_after = lost, turns, broken_after
        self.answers = 0
        self.pool = ThreadPoolExecutor(1)

    def tasks(self, split: Split) -> Sequence[Task]:
        first = 0 if split == "train" else 100
        return [Task(f"{split}/{n}", ({"role": "user", "content": str(first + n)},)) for n in range(16)]

    def begin(self, task: Task) -> Any:
        return _Episode(self)

    def judge(self, text: str, number: int) -> Judged:
        if self.broken_after is not None and number > self.broken_after:
            raise RuntimeError("the verifier is gone")
        if self.lost and number % self.lost == 0:
            return Judged(None, None, "infra_error", "lost")
        tokens = [int(part) for part in text.split()]
        share = sum(token % 2 == 0 for token in tokens) / max(1, len(tokens))
        return Judged(share, share == 1.0, "passed" if share == 1.0 else "failed")


class _Episode:
    def __init__(self, environment: Evens) -> None:
        self.environment, self.turn = environment, 0

    @property
    def last(self) -> bool:
        return self.turn + 1 >= self.environment.turns

    def answer(self, text: str, finish: str) -> Future[Reply]:
        self.turn += 1
        self.environment.answers += 1
        number = self.environment.answers
        if self.turn < self.environment.turns:
            return self.environment.pool.submit(lambda: GoOn(({"role": "user", "content": "3"},)))
        return self.environment.pool.submit(self.environment.judge, text, number)


def encode(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> list[int]:
    return [1 + int(part) % 20 for message in messages for part in str(message["content"]).split()][-30:]


def decode(tokens: Sequence[int]) -> str:
    return " ".join(map(str, tokens))


def recipe(**changes: Any) -> RlvrRecipe:
    fields: dict[str, Any] = {
        "name": "toy",
        "start_from": "nowhere",
        "environments": {"evens": {"kind": "evens", "share": 1}},
        "steps": 4,
        "batch": {"prompts": 4, "group": 4},
        "rollouts": {"max_tokens": 6, "max_batch": 24, "staleness": 1},
        "algorithm": {"over_cap": "keep", "concision": None},
        "schedule": {"kind": "constant", "peak": 0.02},
        "precision": {"dtype": "float32"},
        "checkpoints": {"every_steps": 2, "background": False},
        "validation": {"every_steps": 2, "tasks": 8},
    }
    return RlvrRecipe.model_validate({**fields, **changes})


def parts(settings: RlvrRecipe, environment: Evens) -> Parts:
    torch.manual_seed(0)
    model = Mellum(CONFIG).train()
    sampler = NativeSampler(CONFIG, settings.rollouts, device="cpu", dtype=torch.float32)
    return Parts(model, None, sampler, {"evens": environment}, encode, decode)
