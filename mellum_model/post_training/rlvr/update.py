"""An update of the policy: micro-batches through the model, the policy loss, the optimiser."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ... import losses
from ...model import Mellum
from ...training.errors import TrainingStopped
from ...training.optimisers import Optimisers
from ...training.ranks import Ranks, summed
from .learn import Example
from .loss import Whole, policy_loss
from .recipe import RlvrRecipe


@dataclass(frozen=True, slots=True)
class Micro:
    """Whole sequences of one forward pass. B rows of T tokens, N of them learnt."""

    input_ids: Tensor
    """[B, T], padded on the right."""
    mask: Tensor
    """bool [B, T], False at padding."""
    learnt: Tensor
    """bool [B, T]."""
    drawn: Tensor
    """[N]."""
    advantage: Tensor
    """[N]."""
    sequence: Tensor
    """[N], the row of each."""


def micro_batches(examples: Sequence[Example], tokens: int, device: str) -> list[Micro]:
    """Rows of like length together, as many as keep a pass under `tokens`, padding included."""
    found: list[Micro] = []
    rest = sorted(examples, key=lambda one: len(one.prompt) + len(one.tokens), reverse=True)
    while rest:
        longest = len(rest[0].prompt) + len(rest[0].tokens)
        size = max(1, tokens // longest)
        found.append(_padded(rest[:size], longest, device))
        rest = rest[size:]
    return found


def _padded(rows: Sequence[Example], longest: int, device: str) -> Micro:
    ids, mask, learnt = [], [], []
    for one in rows:
        begin, end = len(one.prompt), len(one.prompt) + len(one.tokens)
        ids.append([*one.prompt, *one.tokens, *[0] * (longest - end)])
        mask.append([True] * end + [False] * (longest - end))
        learnt.append([False] * begin + [True] * (end - begin) + [False] * (longest - end))
    counts = torch.tensor([len(one.tokens) for one in rows])
    return Micro(
        input_ids=torch.tensor(ids, device=device),
        mask=torch.tensor(mask, device=device),
        learnt=torch.tensor(learnt, device=device),
        drawn=torch.tensor([value for one in rows for value in one.drawn], dtype=torch.float32, device=device),
        advantage=torch.tensor([one.advantage for one in rows], dtype=torch.float32)
        .repeat_interleave(counts)
        .to(device),
        sequence=torch.arange(len(rows)).repeat_interleave(counts).to(device),
    )


class Updater:
    """Updates a policy by the lessons of a step."""

    def __init__(
        self, model: Mellum, recipe: RlvrRecipe, optimisers: Optimisers, ranks: Ranks, reference: Mellum | None = None
    ) -> None:
        """Prepare.

        Args:
            model: The policy, trained in place.
            recipe: The switches.
            optimisers: Of the model.
            ranks: This process among the others.
            reference: Where it started from, for `algorithm.kl`.
        """
        self._model, self._recipe, self._optimisers, self._ranks = model, recipe, optimisers, ranks
        self._reference = reference

    def step(self, examples: Sequence[Example], lr: float, number: int) -> dict[str, Any]:
        """The updates of one step.

        Args:
            examples: This rank's.
            lr: Learning rate.
            number: Of the step, for messages and for how groups are divided over updates.

        Returns:
            Measures over all ranks; empty where no rank has anything to learn.

        Raises:
            TrainingStopped: Loss or gradient is not finite; weights are those before that update.
        """
        updates = self._recipe.batch.updates
        parts = [
            micro_batches(part, self._recipe.batch.micro_tokens, self._ranks.device)
            for part in divided(examples, updates, f"{self._recipe.seed}/{number}")
        ]
        # With one update the policy before it is the policy in it; with more, it must be kept from before the first.
        before = [self._before(part) for part in parts] if updates > 1 else None
        sums = torch.zeros(7, dtype=torch.float64, device=self._ranks.device)
        largest = torch.ones((), dtype=torch.float64, device=self._ranks.device)
        norms: list[float] = []
        for place, part in enumerate(parts):
            norm = self._update(part, None if before is None else before[place], lr, number, sums, largest)
            norms += [] if norm is None else [norm]
        if not norms:
            return {}
        if self._ranks.count > 1:
            dist.all_reduce(largest, op=dist.ReduceOp.MAX)
        loss, entropy, clipped, masked, mismatch, tokens, aux = summed(sums).tolist()
        return {
            "policy_loss": loss / len(norms),
            "router_loss": aux / len(norms) / self._ranks.count,
            "lr": lr,
            "grad_norm": sum(norms) / len(norms),
            "entropy": entropy / tokens,
            "clip_share": clipped / tokens,
            "masked_share": masked / tokens,
            "mismatch_kl": mismatch / tokens,
            "ratio_max": float(largest),
            "tokens_learnt": int(tokens),
            "updates": len(norms),
        }

    def _update(
        self, micros: list[Micro], before: list[Tensor] | None, lr: float, number: int, sums: Tensor, largest: Tensor
    ) -> float | None:
        """One optimiser step; adds its measures to `sums` and `largest`. None where there is nothing to learn."""
        recipe, device = self._recipe, self._ranks.device
        counts = torch.tensor(
            [sum(len(one.drawn) for one in micros), sum(len(one.input_ids) for one in micros)], device=device
        )
        tokens, sequences = summed(counts).tolist()
        if not tokens:
            return None
        whole = Whole(tokens, sequences, recipe.rollouts.max_tokens)
        passes = self._most(len(micros))
        own = torch.zeros_like(sums)
        for place in range(passes):
            # Sharded weights are gathered by all ranks together, so every rank makes as many passes as the busiest.
            micro = micros[place] if place < len(micros) else _nothing(device)
            self._sync(last=place == passes - 1)
            scores = self._model.token_scores(micro.input_ids, micro.learnt, temperature=recipe.rollouts.temperature)
            now = scores.logprobs.detach()
            old = now if before is None else before[place]
            reference = None if self._reference is None else self._scores(self._reference, micro)
            found = policy_loss(
                scores.logprobs, old, micro.drawn, micro.advantage, micro.sequence, whole, recipe.algorithm, reference
            )
            aux = self._router(scores.router_logits, micro.mask) / passes
            # FSDP averages gradients over ranks; the loss is a sum over them.
            (found.loss * self._ranks.count + aux).backward()  # type: ignore[no-untyped-call]
            values = (found.loss, scores.entropy.sum(), found.clipped, found.masked, found.mismatch_kl)
            own[:5] += torch.stack([value.detach().double() for value in values])
            own[5] += len(micro.drawn)
            own[6] += aux.detach().double()
            torch.maximum(largest, found.largest.double(), out=largest)
        norm = float(self._optimisers.clip_gradients())
        total = float(summed(own[:1].clone()))
        if not math.isfinite(total) or not math.isfinite(norm):
            self._optimisers.zero_grad()
            what, value = ("loss", total) if not math.isfinite(total) else ("gradient norm", norm)
            raise TrainingStopped(
                f"step {number}: the {what} is {value}; nothing was updated with it. Lower schedule.peak, and continue "
                "from the last checkpoint with --resume"
            )
        sums += own
        self._optimisers.set_learning_rate(lr)
        self._optimisers.step()
        self._optimisers.zero_grad()
        return norm

    def _before(self, micros: list[Micro]) -> list[Tensor]:
        passes = self._most(len(micros))
        padded = [*micros, *[_nothing(self._ranks.device)] * (passes - len(micros))]
        return [self._scores(self._model, micro) for micro in padded]

    @torch.no_grad()
    def _scores(self, model: Mellum, micro: Micro) -> Tensor:
        return model.token_scores(micro.input_ids, micro.learnt, temperature=self._recipe.rollouts.temperature).logprobs

    def _router(self, logits: list[Tensor], mask: Tensor) -> Tensor:
        """The router's losses; they see every token that is no padding."""
        weights, total = self._recipe.losses, torch.zeros((), device=self._ranks.device)
        if weights.balance and logits:
            total = total + weights.balance * losses.global_balance_loss(
                logits, self._model.config.num_experts_per_tok, mask
            )
        if weights.z and logits:
            total = total + weights.z * losses.router_z_loss(logits, mask)
        return total

    def _most(self, passes: int) -> int:
        if self._ranks.count == 1:
            return passes
        most = torch.tensor(passes, device=self._ranks.device)
        dist.all_reduce(most, op=dist.ReduceOp.MAX)
        return int(most)

    def _sync(self, *, last: bool) -> None:
        """Reduce gradients over ranks only after the last pass."""
        if hasattr(self._model, "set_requires_gradient_sync"):
            self._model.set_requires_gradient_sync(last)  # type: ignore[operator]


def divided(examples: Sequence[Example], updates: int, seed: str) -> list[list[Example]]:
    """Examples in so many parts, whole groups in each, drawn anew each step."""
    groups = sorted({one.group for one in examples})
    random.Random(seed).shuffle(groups)
    part = {group: place % updates for place, group in enumerate(groups)}
    return [[one for one in examples if part[one.group] == place] for place in range(updates)]


def _nothing(device: str) -> Micro:
    """Two tokens, none of which is learnt: a pass that only keeps step with other ranks."""
    ids = torch.zeros(1, 2, dtype=torch.long, device=device)
    none = torch.zeros(0, device=device)
    return Micro(
        ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids, dtype=torch.bool), none, none,
        torch.zeros(0, dtype=torch.long, device=device),
    )  # fmt: skip
