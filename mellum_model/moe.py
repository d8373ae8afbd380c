"""Mixture of experts: softmax router in float32, top-k renormalised, SiLU-gated experts, no token dropped.

Tokens are sorted by expert and each expert multiplies its own segment: `grouped_mm` on CUDA, a loop over the experts
that were hit on CPU (where torch's grouped product visits every expert, hit or not). The weighted sum over a token's
experts is a gather, not a scatter-add, so the result does not depend on the order of threads.

Shapes: N tokens, D hidden, E experts, X experts a token, F expert width, M = N·X.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import MellumConfig


class Router(nn.Module):
    """Linear scores, softmax over all experts, the best X, their weights summing to 1 where the config says so."""

    def __init__(self, config: MellumConfig) -> None:
        super().__init__()
        self.top_k = config.num_experts_per_tok
        self.normalise = config.norm_topk_prob
        self.weight = nn.Parameter(torch.empty(config.num_experts, config.hidden_size))

    def forward(self, x_ND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Choose experts.

        Returns:
            logits float32 [N, E], weights float32 [N, X], experts int64 [N, X].
        """
        logits_NE = F.linear(x_ND.float(), self.weight.float())
        return logits_NE, *choose(logits_NE, self.top_k, self.normalise)


def choose(logits_NE: Tensor, top_k: int, normalise: bool) -> tuple[Tensor, Tensor]:
    """Weights and ids of the best experts. Renormalised, the softmax over all is the softmax over the chosen."""
    if normalise:
        best_NX, experts_NX = logits_NE.topk(top_k, dim=-1)
        return best_NX.softmax(-1), experts_NX
    weights_NX, experts_NX = logits_NE.softmax(-1).topk(top_k, dim=-1)
    return weights_NX, experts_NX


def segments(counts: list[int]) -> list[tuple[int, int, int]]:
    """(expert, begin, end) of the rows of each expert that has any."""
    found, begin = [], 0
    for expert, count in enumerate(counts):
        if count:
            found.append((expert, begin, begin + count))
            begin += count
    return found


def sort_by_expert(experts_NX: Tensor, num_experts: int) -> tuple[Tensor, Tensor, Tensor]:
    """Order of the M choices by expert.

    Returns:
        token of each sorted row [M], row of each choice [N, X], rows of each expert [E].
    """
    flat = experts_NX.reshape(-1)
    order = flat.argsort(stable=True)
    rows = torch.empty_like(order).scatter_(0, order, torch.arange(order.numel(), device=order.device))
    return order // experts_NX.shape[1], rows.view(experts_NX.shape), torch.bincount(flat, minlength=num_experts)


def sorted_experts(
    x_ND: Tensor, experts_NX: Tensor, weights_NX: Tensor, gate_up_t: Sequence[Tensor], down_t: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor, list[tuple[int, int, int]], Tensor]:
    """The CPU path without a gradient: one product for each segment, written in place.

    Args:
        x_ND: Tokens.
        experts_NX: Chosen experts.
        weights_NX: Their weights.
        gate_up_t: [D, 2F] of each expert.
        down_t: [F, D] of each expert.

    Returns:
        output [N, D], and what a gradient needs: token of each row [M], row of each choice [N, X], segments, gate and
        up before the activation [M, 2F].
    """
    token_M, rows_NX, counts = sort_by_expert(experts_NX, len(gate_up_t))
    parts = segments(counts.tolist())
    sizes = [end - begin for _, begin, end in parts]
    x_MD = x_ND.index_select(0, token_M)
    h_M2F = x_MD.new_empty(x_MD.shape[0], gate_up_t[0].shape[1])
    for (expert, _, _), x, h in zip(parts, x_MD.split_with_sizes(sizes), h_M2F.split_with_sizes(sizes), strict=True):
        torch.mm(x, gate_up_t[expert], out=h)
    gate_MF, up_MF = h_M2F.chunk(2, -1)
    act_MF = F.silu(gate_MF).mul_(up_MF)
    y_MD = x_MD  # its rows have been read
    for (expert, _, _), act, y in zip(parts, act_MF.split_with_sizes(sizes), y_MD.split_with_sizes(sizes), strict=True):
        torch.mm(act, down_t[expert], out=y)
    return combine(y_MD, rows_NX, weights_NX), token_M, rows_NX, parts, h_M2F


class _SortedExperts(torch.autograd.Function):
    """The CPU path with its gradient written out.

    Autograd of per-expert slices would build a zero gradient of the whole weight for every expert; here each expert
    writes its own part once. Routing weights are applied on the F side backwards, so no [M, D] product is stored.
    """

    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, experts_NX: Tensor, weights_NX: Tensor, gate_up: Tensor, down: Tensor
    ) -> Tensor:
        gate_up_t = [weight.t() for weight in gate_up.unbind(0)]
        down_t = [weight.t() for weight in down.unbind(0)]
        out_ND, token_M, rows_NX, parts, h_M2F = sorted_experts(x_ND, experts_NX, weights_NX, gate_up_t, down_t)
        ctx.parts = parts
        ctx.save_for_backward(x_ND, token_M, rows_NX, weights_NX, gate_up, down, h_M2F)
        return out_ND

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x_ND, token_M, rows_NX, weights_NX, gate_up, down, h_M2F = ctx.saved_tensors
        x_MD = x_ND.index_select(0, token_M)
        dy_MD = grads[0].index_select(0, token_M)
        w_M1 = torch.empty(token_M.numel(), 1, dtype=x_ND.dtype)
        w_M1.view(-1).scatter_(0, rows_NX.view(-1), weights_NX.reshape(-1).to(x_ND.dtype))
        gate_MF, up_MF = h_M2F.chunk(2, -1)
        sigmoid_MF = gate_MF.sigmoid()
        silu_MF = gate_MF * sigmoid_MF
        act_MF = silu_MF * up_MF
        dact_MF = torch.empty_like(act_MF)
        for expert, begin, end in ctx.parts:
            torch.mm(dy_MD[begin:end], down[expert], out=dact_MF[begin:end])
        dw_M = (dact_MF * act_MF).sum(-1)
        dact_MF.mul_(w_M1)
        act_MF.mul_(w_M1)
        dh_M2F = torch.empty_like(h_M2F)
        torch.mul(dact_MF, silu_MF, out=dh_M2F[:, gate_MF.shape[1] :])
        # d silu(g) = s(g) · (1 + g · (1 - s(g))) = s + silu · (1 - s)
        slope_MF = torch.addcmul(sigmoid_MF, silu_MF, 1 - sigmoid_MF)
        torch.mul(dact_MF.mul_(up_MF), slope_MF, out=dh_M2F[:, : gate_MF.shape[1]])
        fresh = torch.empty_like if len(ctx.parts) == gate_up.shape[0] else torch.zeros_like  # experts without tokens
        dgate_up, ddown = fresh(gate_up), fresh(down)
        dx_MD = torch.empty_like(x_MD)
        for expert, begin, end in ctx.parts:
            torch.mm(dy_MD[begin:end].t(), act_MF[begin:end], out=ddown[expert])
            torch.mm(dh_M2F[begin:end].t(), x_MD[begin:end], out=dgate_up[expert])
            torch.mm(dh_M2F[begin:end], gate_up[expert], out=dx_MD[begin:end])
        dx_ND = combine(dx_MD, rows_NX, None)
        dweights_NX = dw_M.index_select(0, rows_NX.view(-1)).view(rows_NX.shape).to(weights_NX.dtype)
        return dx_ND, None, dweights_NX, dgate_up, ddown


def combine(y_MD: Tensor, rows_NX: Tensor, weights_NX: Tensor | None) -> Tensor:
    """Sum of each token's rows of `y`, weighted where weights are given: [N, D]."""
    if y_MD.is_cuda or y_MD.dtype != torch.float32:
        y_NXD = y_MD.index_select(0, rows_NX.reshape(-1)).view(*rows_NX.shape, -1)
        if weights_NX is not None:
            y_NXD = y_NXD * weights_NX.to(y_MD.dtype)[..., None]
        return y_NXD.sum(1)
    # One pass instead of gather, multiply and sum: a bag is exactly a weighted sum of rows.
    return F.embedding_bag(rows_NX, y_MD, mode="sum", per_sample_weights=weights_NX)


def grouped_experts(x_ND: Tensor, experts_NX: Tensor, weights_NX: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """The CUDA path: two grouped products, no synchronisation with the host."""
    token_M, rows_NX, counts = sort_by_expert(experts_NX, gate_up.shape[0])
    ends = counts.cumsum(0).to(torch.int32)
    x_MD = x_ND.to(gate_up.dtype).index_select(0, token_M)
    h_M2F = F.grouped_mm(x_MD, gate_up.transpose(1, 2), offs=ends)
    gate_MF, up_MF = h_M2F.chunk(2, -1)
    y_MD = F.grouped_mm(F.silu(gate_MF) * up_MF, down.transpose(1, 2), offs=ends)
    y_NXD = y_MD.index_select(0, rows_NX.reshape(-1)).view(*rows_NX.shape, -1)
    return (y_NXD * weights_NX.to(y_MD.dtype)[..., None]).sum(1)


def run_experts(x_ND: Tensor, experts_NX: Tensor, weights_NX: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """Weighted sum of the chosen experts' outputs.

    Args:
        x_ND: Tokens.
        experts_NX: Chosen experts, int64.
        weights_NX: Their weights.
        gate_up: [E, 2F, D], gate rows first.
        down: [E, D, F].

    Returns:
        [N, D].
    """
    if x_ND.is_cuda:
        return grouped_experts(x_ND, experts_NX, weights_NX, gate_up, down)
    result: Tensor = _SortedExperts.apply(x_ND, experts_NX, weights_NX, gate_up, down)  # type: ignore[no-untyped-call]
    return result


class Experts(nn.Module):
    """Weights of all experts of a layer, fused. What expert parallelism replaces from outside."""

    def __init__(self, config: MellumConfig) -> None:
        super().__init__()
        experts, width, hidden = config.num_experts, config.moe_intermediate_size, config.hidden_size
        self.gate_up_proj = nn.Parameter(torch.empty(experts, 2 * width, hidden))
        self.down_proj = nn.Parameter(torch.empty(experts, hidden, width))

    def forward(self, x_ND: Tensor, experts_NX: Tensor, weights_NX: Tensor) -> Tensor:
        """See `run_experts`."""
        return run_experts(x_ND, experts_NX, weights_NX, self.gate_up_proj, self.down_proj)


class SparseMlp(nn.Module):
    """Router and experts of a layer."""

    def __init__(self, config: MellumConfig) -> None:
        super().__init__()
        self.gate = Router(config)
        self.experts = Experts(config)

    def forward(self, x_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """Feed forward.

        Returns:
            output [B, T, D], router logits float32 [B·T, E].
        """
        x_ND = x_BTD.reshape(-1, x_BTD.shape[-1])
        logits_NE, weights_NX, experts_NX = self.gate(x_ND)
        return self.experts(x_ND, experts_NX, weights_NX).view(x_BTD.shape), logits_NE


class DenseMlp(nn.Module):
    """SiLU-gated feed forward of a layer without experts; gate and up are rows of one matrix."""

    def __init__(self, config: MellumConfig) -> None:
        super().__init__()
        self.gate_up_proj = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x_BTD: Tensor) -> tuple[Tensor, None]:
        """Feed forward; there are no router logits."""
        gate, up = self.gate_up_proj(x_BTD).chunk(2, -1)
        return self.down_proj(F.silu(gate) * up), None
