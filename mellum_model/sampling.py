"""How the next token is chosen: greedy, or drawn from the tempered and truncated distribution.

Randomness belongs to the request: each has a generator of its own, seeded by it, and draws one uniform number a
decision. So a request's tokens do not depend on which others share its batch, up to rounding of the logits.

Shapes: N rows, V vocabulary.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .errors import ModelError


@dataclass(frozen=True, slots=True)
class Sampling:
    """One request's settings. The order of the filters is temperature, top-k, top-p, min-p."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    """The fewest most probable tokens whose probabilities reach this sum."""
    top_k: int = 0
    """The so many most probable tokens; 0 is all."""
    min_p: float = 0.0
    """Tokens at least this probable relative to the most probable."""
    seed: int = 0
    stop: tuple[str, ...] = ()
    """Strings that end the text; they are not part of it."""
    stop_token_ids: tuple[int, ...] = ()
    """Beside the model's own end tokens."""
    ignore_eos: bool = False
    """Go on past the model's end tokens."""
    logprobs: int | None = None
    """Natural logarithms of the model's own probabilities (temperature 1, nothing cut off): of each chosen token, and
    of so many most probable ones; None is none."""
    tempered_logprobs: bool = False
    """`logprobs` of the tempered distribution instead; for policy gradients, which are of what was drawn from."""
    thinking_budget: int | None = None
    """Tokens after which an open `<think>` is closed."""

    def __post_init__(self) -> None:
        if isinstance(self.stop, str):
            object.__setattr__(self, "stop", (self.stop,))
        for name in ("stop", "stop_token_ids"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        bounds = {
            "max_new_tokens": self.max_new_tokens >= 1,
            "temperature": self.temperature >= 0,
            "top_p": 0 < self.top_p <= 1,
            "top_k": self.top_k >= 0,
            "min_p": 0 <= self.min_p <= 1,
            "stop": all(self.stop),
            "logprobs": self.logprobs is None or self.logprobs >= 0,
            "thinking_budget": self.thinking_budget is None or self.thinking_budget >= 0,
        }
        for name, good in bounds.items():
            if not good:
                raise ModelError(f"{name}: {getattr(self, name)!r} is out of range")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The settings there are."""
        return tuple(field.name for field in fields(cls))

    @property
    def greedy(self) -> bool:
        """Whether the most probable token is always taken."""
        return self.temperature == 0.0 or self.top_k == 1


def distribution(logits: Tensor, settings: Sequence[Sampling]) -> Tensor:
    """What tokens are drawn from.

    Args:
        logits: [N, V].
        settings: One a row.

    Returns:
        Probabilities float32 [N, V]; a greedy row has 1 at its most probable token.
    """
    logits = logits.float()
    greedy = torch.tensor([s.greedy for s in settings], device=logits.device)[:, None]
    one_hot = torch.zeros_like(logits).scatter_(1, logits.argmax(-1, keepdim=True), 1.0)
    if all(s.greedy for s in settings):
        return one_hot
    temperature = torch.tensor([1.0 if s.greedy else s.temperature for s in settings], device=logits.device)
    scaled = logits / temperature[:, None]
    if any(s.top_k > 0 or s.top_p < 1 for s in settings):
        scaled = _truncate(scaled, settings)
    if any(s.min_p for s in settings):
        log_floor = torch.tensor([s.min_p for s in settings], device=logits.device).log()[:, None]
        scaled = scaled.masked_fill(scaled - scaled.amax(-1, keepdim=True) < log_floor, float("-inf"))
    return torch.where(greedy, one_hot, scaled.softmax(-1))


def _truncate(scaled: Tensor, settings: Sequence[Sampling]) -> Tensor:
    """Top-k, then top-p among what is left, on sorted logits. Ties at the edge fall to the lower id."""
    vocabulary = scaled.shape[-1]
    counts = [min(s.top_k or vocabulary, vocabulary) for s in settings]
    # Sorting a vocabulary costs more than the model's step; the k best of it do not.
    if max(counts) < vocabulary:
        best, ids = scaled.topk(max(counts), dim=-1)
    else:
        best, ids = scaled.sort(dim=-1, descending=True)
    rank = torch.arange(best.shape[-1], device=scaled.device)
    cut = rank >= torch.tensor(counts, device=scaled.device)[:, None]
    best = best.masked_fill(cut, float("-inf"))
    probabilities = best.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    top_p = torch.tensor([s.top_p for s in settings], device=scaled.device)[:, None]
    # A token stays while the sum before it is below top_p, so the first always does; 1.0 cuts nothing by rounding.
    best = best.masked_fill((before >= top_p) & (top_p < 1), float("-inf"))
    return torch.full_like(scaled, float("-inf")).scatter_(-1, ids, best)


def draw(probabilities: Tensor, uniforms: Sequence[float]) -> Tensor:
    """Tokens by inversion of the cumulative distribution.

    Args:
        probabilities: [N, V], not necessarily summing to 1.
        uniforms: One number in [0, 1) a row.

    Returns:
        int64 [N]; never a token of probability 0.
    """
    # float64: over 98,304 tokens a float32 sum would lose the tail.
    cumulative = probabilities.double().cumsum(-1)
    target = torch.tensor(uniforms, dtype=torch.float64, device=probabilities.device)[:, None] * cumulative[:, -1:]
    index = torch.searchsorted(cumulative, target, right=True)
    last = (probabilities > 0).long().cumsum(-1).argmax(-1, keepdim=True)  # where rounding put the target at the end
    return torch.minimum(index, last)[:, 0]


def accept(target: Tensor, draft: Tensor, token: int, uniform: float) -> bool:
    """Whether a drafted token stands (Leviathan et al. 2023, algorithm 1): with probability min(1, p/q).

    Args:
        target: p, [V].
        draft: q, [V], from which `token` was drawn.
        token: The drafted token.
        uniform: A number in [0, 1).
    """
    p, q = float(target[token]), float(draft[token])
    return uniform * q < p


def residual(target: Tensor, draft: Tensor) -> Tensor:
    """What the token after a rejection is drawn from: max(p - q, 0), not normalised, [V]."""
    left = (target - draft).clamp_(min=0)
    # p = q up to rounding: a rejection then has probability 0 up to rounding, and p itself is right.
    return left if float(left.sum()) > 0 else target


def greedy_outcome(drafted: list[int], wanted: list[int]) -> list[int]:
    """Drafts as long as they are what greedy decoding wants, then the first token that they are not."""
    count = 0
    while count < len(drafted) and drafted[count] == wanted[count]:
        count += 1
    return wanted[: count + 1]


def sampled_outcome(rng: random.Random, drafted: list[int], target: Tensor, draft: Tensor) -> list[int]:
    """Accepted drafts and the token after them, distributed exactly as plain sampling would.

    Args:
        rng: The request's own.
        drafted: k tokens.
        target: [k + 1, V].
        draft: [k, V].
    """
    kept: list[int] = []
    for place, token in enumerate(drafted):
        if not accept(target[place], draft[place], token, rng.random()):
            left = residual(target[place], draft[place])
            return [*kept, int(draw(left[None], [rng.random()]))]
        kept.append(token)
    return [*kept, int(draw(target[len(drafted)][None], [rng.random()]))]
