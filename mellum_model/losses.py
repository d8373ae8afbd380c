"""Training losses: next token, load balance in both forms, router z-loss. Pure functions.

Shapes: N tokens, E experts, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100


def next_token_loss(logits: Tensor, labels: Tensor, ahead: int = 1) -> Tensor:
    """Mean cross-entropy in float32 of predicting the token `ahead` places on.

    Args:
        logits: [B, T, V]; position i predicts labels[i + ahead].
        labels: [B, T'] with T' ≥ T; `IGNORED` where nothing is to be learnt.
        ahead: 1 for the trunk, 2 for the MTP head.

    Returns:
        Scalar; 0 (with a gradient of 0) where every label is ignored.
    """
    # The labels are shifted, not the logits: those are large, and a slice of them would be copied.
    targets = F.pad(labels[:, ahead:], (0, ahead), value=IGNORED)[:, : logits.shape[1]].flatten()
    total = F.cross_entropy(logits.flatten(0, 1).float(), targets, ignore_index=IGNORED, reduction="sum")
    return total / (targets != IGNORED).sum().clamp(min=1)


def _load(logits_NE: Tensor, top_k: int, mask_N: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Choices of each expert [E], summed probabilities [E], number of tokens: over the tokens that count."""
    probabilities_NE = logits_NE.float().softmax(-1)
    chosen_NX = logits_NE.topk(top_k, dim=-1).indices
    if mask_N is None:
        counts = torch.bincount(chosen_NX.flatten(), minlength=logits_NE.shape[1]).float()
        return counts, probabilities_NE.sum(0), counts.new_tensor(float(logits_NE.shape[0]))
    weight_N = mask_N.flatten().float()
    counts = torch.zeros(logits_NE.shape[1], device=logits_NE.device)
    counts.scatter_add_(0, chosen_NX.flatten(), weight_N.repeat_interleave(top_k))
    return counts, (probabilities_NE * weight_N[:, None]).sum(0), weight_N.sum()


def pooled_balance_loss(router_logits: Sequence[Tensor], top_k: int, mask: Tensor | None = None) -> Tensor:
    """Switch form pooled over layers, as `transformers` computes it: E · Σ f·P, which is top_k at perfect balance.

    Args:
        router_logits: [N, E] of each sparse layer.
        top_k: Experts a token.
        mask: [B, T], 0 at padding.

    Returns:
        Scalar; f and P are averaged over all layers before the product.
    """
    loads = [_load(logits, top_k, mask) for logits in router_logits]
    counts = torch.stack([load[0] for load in loads]).sum(0)
    sums = torch.stack([load[1] for load in loads]).sum(0)
    rows = torch.stack([load[2] for load in loads]).sum()
    return router_logits[0].shape[1] * (counts / rows * (sums / rows)).sum()


def global_balance_loss(
    router_logits: Sequence[Tensor], top_k: int, mask: Tensor | None = None, group: dist.ProcessGroup | None = None
) -> Tensor:
    """Per layer over the global batch, as Megatron computes it; the mean over layers, 1 at perfect balance.

    The load f is counted over all ranks of `group`; P stays local, because its gradient is averaged by data
    parallelism anyway. So one rank with the whole batch and many with a part of it give the same gradient.
    """
    terms = []
    for logits in router_logits:
        counts, sums, rows = _load(logits, top_k, mask)
        total = rows.clone()
        if dist.is_available() and dist.is_initialized():
            packed = torch.cat((counts, total[None]))
            dist.all_reduce(packed, group=group)
            counts, total = packed[:-1], packed[-1]
        terms.append((counts / total * (sums / rows)).sum() * logits.shape[1] / top_k)
    return torch.stack(terms).mean()


def router_z_loss(router_logits: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
    """Mean over layers and tokens of logsumexp² of the router's logits (ST-MoE, arXiv:2202.08906)."""
    squares = torch.stack([logits.float().logsumexp(-1).square() for logits in router_logits])
    if mask is None:
        return squares.mean()
    weight = mask.flatten().float()
    return (squares * weight).sum() / (weight.sum() * len(router_logits))
