"""The policy loss: flat tensors in, one number out.

    L = Σ_t s_t · (-w_t · min(r_t·A_t, clip(r_t)·A_t) + β·kl_t)

r is the new probability over the old one (a token's own, or its sequence's geometric mean), A the advantage, w the
correction for what drew the token not being what trains it, s the share of a token in the batch. Shares are of the
whole batch, so that the loss does not depend on how it is cut into micro-batches and ranks.

Shapes: N tokens that are learnt, of all sequences of a micro-batch; S sequences.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .algorithm import Algorithm


@dataclass(frozen=True, slots=True)
class Whole:
    """The whole batch, over all micro-batches and ranks."""

    tokens: int
    """That are learnt."""
    sequences: int
    cap: int
    """The most tokens that an answer may have."""


@dataclass(frozen=True, slots=True)
class PolicyLoss:
    """The loss of a micro-batch and what to watch; all but `loss` and `largest` are sums over its tokens."""

    loss: Tensor
    clipped: Tensor
    """Tokens whose gradient the clip took away."""
    masked: Tensor
    """Tokens that the correction took out."""
    mismatch_kl: Tensor
    """rho - ln rho - 1: an estimate of the sampler's divergence from the trainer that is never negative."""
    largest: Tensor
    """How far rho is from 1 where it is furthest, as a factor: 2 is twice or half as probable."""


def policy_loss(
    logp: Tensor,
    old: Tensor,
    drawn: Tensor,
    advantage: Tensor,
    sequence: Tensor,
    whole: Whole,
    how: Algorithm,
    reference: Tensor | None = None,
) -> PolicyLoss:
    """The loss of some whole sequences.

    Args:
        logp: [N] log-probabilities under the policy that is trained; carries the gradient.
        old: [N] the same before the step's first update.
        drawn: [N] the same as the sampler had them when it drew the tokens.
        advantage: [N] of each token's sequence.
        sequence: int64 [N], 0 … S - 1.
        whole: Sizes of the whole batch.
        how: The switches.
        reference: [N] under the policy that it started from, where `how.kl` is above 0.
    """
    lengths = torch.bincount(sequence).clamp(min=1).to(logp.dtype)  # [S]
    log_ratio = logp - old
    if how.ratio == "sequence":
        log_ratio = (torch.zeros_like(lengths).index_add(0, sequence, log_ratio) / lengths)[sequence]
    ratio = log_ratio.exp()
    free, bound = ratio * advantage, ratio.clamp(1 - how.clip_low, 1 + how.clip_high) * advantage
    rho = (old - drawn).exp()
    weight = correction(rho, how)
    loss = -weight * torch.minimum(free, bound)
    if how.kl and reference is not None:
        away = reference - logp
        loss = loss + how.kl * (away.exp() - away - 1)
    if how.normalise == "token":
        share = torch.full_like(loss, 1 / max(1, whole.tokens))
    elif how.normalise == "sequence":
        share = (1 / (lengths * max(1, whole.sequences)))[sequence]
    else:
        share = torch.full_like(loss, 1 / max(1, whole.sequences * whole.cap))
    with torch.no_grad():
        clipped, masked = ((bound < free) & (weight > 0)).sum(), (weight == 0).sum()
        mismatch = (rho - (old - drawn) - 1).sum()
        largest = (old - drawn).abs().amax().exp() if len(rho) else rho.new_ones(())
    return PolicyLoss((loss * share).sum(), clipped, masked, mismatch, largest)


def correction(rho: Tensor, how: Algorithm) -> Tensor:
    """What each token counts, [N], of the trainer's probability over the sampler's, [N]. No gradient goes through."""
    if how.correction.kind == "none":
        return torch.ones_like(rho)
    if how.correction.kind == "tis":
        return rho.clamp(max=how.correction.high)
    inside = (rho >= how.correction.low) & (rho <= how.correction.high)
    return torch.where(inside, rho, torch.zeros_like(rho))
