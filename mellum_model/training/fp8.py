"""FP8 as the report trained: hybrid (E4M3 forward, E5M2 gradients), one scale a tensor, from that tensor's own maximum.

Linear layers are torchao's, which emulates the same numbers where there is no FP8 hardware. Experts are ours: torchao
has no tensorwise grouped product, and its rowwise one is marked a prototype. On hardware each expert's weights have a
scale of their own (each is a matrix of its own; the tokens of all experts share one, being one tensor).

Not touched: embedding, output matrix, router, norms; they are exact to what they are without FP8.

Shapes: M rows sorted by expert, E experts, K in, N out.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model import Mellum
from ..moe import SparseMlp, sort_by_expert
from .errors import RecipeError

FORWARD, GRADIENT = torch.float8_e4m3fn, torch.float8_e5m2
_MULTIPLE = 16  # what FP8 products demand of every dimension
_EPS = 1e-12


def quantise(x: Tensor, dtype: torch.dtype, dims: tuple[int, ...] | None = None) -> tuple[Tensor, Tensor]:
    """A tensor in FP8 and the scale that undoes it.

    Args:
        x: Any floating tensor.
        dtype: E4M3 or E5M2.
        dims: What one scale covers; None is all of it.

    Returns:
        FP8 values, and float32 scales that broadcast against them: x ≈ values · scale.
    """
    size = x.detach().abs()
    most = (size.amax() if dims is None else size.amax(dims, keepdim=True)).float()
    limit = torch.finfo(dtype).max
    scale = most.clamp(min=_EPS) / limit
    return (x.float() / scale).clamp(-limit, limit).to(dtype), scale


def rounded(x: Tensor, dtype: torch.dtype, dims: tuple[int, ...] | None = None) -> Tensor:
    """A tensor as FP8 leaves it, in its own dtype."""
    values, scale = quantise(x, dtype, dims)
    return (values.float() * scale).to(x.dtype)


class _EmulatedGrouped(torch.autograd.Function):
    """Each expert's rows times its matrix, operands rounded to FP8, sums in the working precision."""

    @staticmethod
    def forward(ctx: Any, x_MK: Tensor, weight_ENK: Tensor, ends: list[int]) -> Tensor:
        x8, weight8 = rounded(x_MK, FORWARD), rounded(weight_ENK, FORWARD, (1, 2))
        ctx.save_for_backward(x8, weight8)
        ctx.ends = ends
        out = x_MK.new_empty(x_MK.shape[0], weight_ENK.shape[1])
        for expert, (begin, end) in enumerate(zip([0, *ends], ends, strict=False)):
            torch.mm(x8[begin:end], weight8[expert].t(), out=out[begin:end])
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x8, weight8 = ctx.saved_tensors
        g8 = rounded(grads[0], GRADIENT)
        dx, dweight = torch.empty_like(x8), torch.empty_like(weight8)
        for expert, (begin, end) in enumerate(zip([0, *ctx.ends], ctx.ends, strict=False)):
            torch.mm(g8[begin:end], weight8[expert], out=dx[begin:end])
            torch.mm(g8[begin:end].t(), x8[begin:end], out=dweight[expert])
        return dx, dweight, None


class _Float8Grouped(torch.autograd.Function):
    """The same on hardware. Grouped FP8 products take a scale a row; here the rows of a tensor share theirs.

    They take no E5M2, and would have the groups of a product over tokens padded: gradients are products in the working
    precision of the same rounded operands, so the numbers are those of the emulation.
    """

    @staticmethod
    def forward(ctx: Any, x_MK: Tensor, weight_ENK: Tensor, ends: Tensor) -> Tensor:
        x8, x_scale = quantise(x_MK, FORWARD)
        weight8, weight_scale = quantise(weight_ENK, FORWARD, (1, 2))
        ctx.save_for_backward(x8, x_scale, weight8, weight_scale, ends)
        per_row = x_scale.expand(x8.shape[0]).contiguous()
        per_column = weight_scale.view(-1, 1).expand(weight8.shape[:2]).contiguous()
        return torch._scaled_grouped_mm(
            x8, weight8.transpose(1, 2), per_row, per_column, offs=ends, out_dtype=x_MK.dtype, use_fast_accum=True
        )

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x8, x_scale, weight8, weight_scale, ends = ctx.saved_tensors
        dtype = grads[0].dtype
        g8 = rounded(grads[0], GRADIENT)
        weight = (weight8.float() * weight_scale).to(dtype)
        x = (x8.float() * x_scale).to(dtype)
        return F.grouped_mm(g8, weight, offs=ends), F.grouped_mm(g8.t(), x, offs=ends), None


class Float8Experts(nn.Module):
    """A layer's experts with both products in FP8; parameters and their names are those of `Experts`."""

    gate_up_proj: nn.Parameter
    down_proj: nn.Parameter

    def __init__(self, experts: nn.Module, *, emulate: bool) -> None:
        super().__init__()
        self.emulate = emulate
        for name, parameter in experts.named_parameters():
            self.register_parameter(name, parameter)

    def forward(self, x_ND: Tensor, experts_NX: Tensor, weights_NX: Tensor) -> Tensor:
        """As `Experts`."""
        return self.run(x_ND, experts_NX, weights_NX, self.gate_up_proj, self.down_proj)

    def run(self, x_ND: Tensor, experts_NX: Tensor, weights_NX: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
        """As `run_experts`: with the weights given, which under expert parallelism are this rank's own."""
        token_M, rows_NX, counts = sort_by_expert(experts_NX, gate_up.shape[0])
        x_MD = x_ND.to(gate_up.dtype).index_select(0, token_M)
        ends = counts.cumsum(0).to(torch.int32)
        gate, up = self._product(x_MD, gate_up, ends).chunk(2, -1)
        y_MD = self._product(F.silu(gate) * up, down, ends)
        y_NXD = y_MD.index_select(0, rows_NX.reshape(-1)).view(*rows_NX.shape, -1)
        return (y_NXD * weights_NX.to(y_MD.dtype)[..., None]).sum(1)

    def _product(self, rows: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
        if self.emulate:
            emulated: Tensor = _EmulatedGrouped.apply(rows, weight, ends.tolist())  # type: ignore[no-untyped-call]
            return emulated
        found: Tensor = _Float8Grouped.apply(rows, weight, ends)  # type: ignore[no-untyped-call]
        return found


def in_fp8(module: nn.Module, name: str) -> bool:
    """Whether a linear layer is computed in FP8: all but the output matrix, and those whose sizes hardware refuses."""
    if not isinstance(module, nn.Linear) or name == "lm_head":
        return False
    return not any(size % _MULTIPLE for size in module.weight.shape)


def apply_fp8(model: Mellum, *, emulate: bool) -> Mellum:
    """Replace linear layers and experts, in place; weights, their names and the optimiser's view of them stay.

    Args:
        model: On any device, before it is sharded.
        emulate: Compute the same numbers without FP8 hardware.

    Raises:
        RecipeError: torchao is not installed, or the hardware has no FP8.
    """
    if not emulate and not (torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 9)):
        raise RecipeError("precision.fp8: hybrid needs a GPU with FP8; emulated computes the same numbers anywhere")
    logging.disable(logging.WARNING)  # torchao reports kernels for other machines that it could not load
    try:
        from torchao.float8 import Float8LinearConfig, convert_to_float8_training
    except ModuleNotFoundError:
        raise RecipeError('precision.fp8: torchao is not installed; pip install "mellum-eval[train]"') from None
    finally:
        logging.disable(logging.NOTSET)
    convert_to_float8_training(model, module_filter_fn=in_fp8, config=Float8LinearConfig(emulate=emulate))
    for module in model.modules():
        if isinstance(module, SparseMlp):
            sizes = [size for parameter in module.experts.parameters() for size in parameter.shape[1:]]
            if not any(size % _MULTIPLE for size in sizes):
                module.experts = Float8Experts(module.experts, emulate=emulate)  # type: ignore[assignment]
    return model
