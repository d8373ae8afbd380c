"""Gradients written out for CPU, where autograd's own would pass over memory several times as often.

On CUDA the plain formulas are used: a compiler fuses them there.

Shapes: B batch, T time, H heads, C head dimension, L length of a window, P number of windows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def _scale(x: Tensor, eps: float) -> Tensor:
    """1 / rms over the last dimension, kept as 1: one pass over x."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()


class NormRotate(torch.autograd.Function):
    """RMS norm over C, times a weight, then the rotary turn.

    With h = x·r the output is u·cos + swap(u)·sin for u = h·w, where `swap` exchanges the halves of C and sin carries
    the sign. `swap` is its own transpose, so the gradient of u is g·cos + swap(g·sin).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, eps: float) -> Tensor:
        """X [B, T, H, C], weight [C], cos and sin [B or 1, T, 1, C]."""
        half = x.shape[-1] // 2
        scale = _scale(x, eps)
        h = x * scale
        turned_sin = sin * weight.roll(half)
        out: Tensor = h * (cos * weight)
        out[..., :half].addcmul_(h[..., half:], turned_sin[..., :half])
        out[..., half:].addcmul_(h[..., :half], turned_sin[..., half:])
        ctx.save_for_backward(x, scale, weight, cos, sin)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Dx = r·(w·du - h·mean(w·du·h)), dw = Σ du·h."""
        x, scale, weight, cos, sin = ctx.saved_tensors
        g = grads[0]
        half = x.shape[-1] // 2
        du = g * cos
        du[..., half:].addcmul_(g[..., :half], sin[..., :half])
        du[..., :half].addcmul_(g[..., half:], sin[..., half:])
        h = x * scale
        product = du * h
        dweight = product.flatten(0, -2).sum(0)
        mean = (product @ weight).div_(x.shape[-1]).unsqueeze(-1)
        du.mul_(weight).addcmul_(h, mean, value=-1).mul_(scale)
        return du, dweight, None, None, None


class RmsNorm(torch.autograd.Function):
    """RMS norm over the last dimension, times a weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        """X [..., D], weight [D]."""
        scale = _scale(x, eps)
        ctx.save_for_backward(x, scale, weight)
        out: Tensor = x * scale
        return out.mul_(weight)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """As in `NormRotate`, without the turn."""
        x, scale, weight = ctx.saved_tensors
        g = grads[0]
        h = x * scale
        product = g * h
        dweight = product.flatten(0, -2).sum(0)
        mean = (product @ weight).div_(x.shape[-1]).unsqueeze(-1)
        return (g * weight).addcmul_(h, mean, value=-1).mul_(scale), dweight, None


class Windows(torch.autograd.Function):
    """Overlapping windows of a sequence, copied: [B, T, ...] to [B·P, L, ...].

    Autograd of slices would fill a whole gradient with zeros for each window; here each adds to its part.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, length: int, step: int, count: int) -> Tensor:
        """Window p holds x[:, p·step : p·step + length]."""
        ctx.step, ctx.count, ctx.shape = step, count, x.shape
        batch, _, *rest = x.shape
        row = x.stride(1)
        strides = (x.stride(0), step * row, row, *(x.stride(dim) for dim in range(2, x.dim())))
        view = x.as_strided((batch, count, length, *rest), strides, x.storage_offset())
        return view.reshape(batch * count, length, *rest)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Sum of the windows' gradients, each at its place."""
        g = grads[0].view(ctx.shape[0], ctx.count, -1, *ctx.shape[2:])
        dx = g.new_zeros(ctx.shape)
        for place in range(ctx.count):
            first = place * ctx.step
            dx[:, first : first + g.shape[2]].add_(g[:, place])
        return dx, None, None, None


def written_out(x: Tensor) -> bool:
    """Whether these functions are used for a tensor like `x`: not under autocast or a compiler, nor off the CPU."""
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and not torch.compiler.is_compiling()
