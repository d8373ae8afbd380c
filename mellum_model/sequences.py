"""Attention of whole sequences by our own kernel: on CPU in float32, where no gradient is wanted.

`kernels/sequences.h` says how. Norms, rotation and both products are one call, and a window's masked tiles are skipped.
"""

from __future__ import annotations

import ctypes
from ctypes import c_int64, c_void_p

import torch
from torch import Tensor

from . import kernels
from .cpu import written_out
from .kernels.structures import Shape


def taken(qkv: Tensor, starts: Tensor | None) -> bool:
    """Whether the kernel computes this: one document a row, positions from 0."""
    if starts is not None or torch.is_grad_enabled() or qkv.dtype != torch.float32 or not written_out(qkv):
        return False
    return kernels.library() is not None


def attended(
    qkv: Tensor,
    norms: tuple[Tensor, Tensor],
    eps: float,
    tables: tuple[Tensor, Tensor],
    heads: tuple[int, int],
    window: int | None,
) -> Tensor:
    """Norms, rotation and causal attention.

    Args:
        qkv: [B, T, H + 2K, C], contiguous; its queries and keys are normed and turned in place, queries scaled as well.
        norms: Weights [C] of the queries' and the keys' norm.
        eps: Of the norms.
        tables: Cos and signed sin, [1, T, 1, C].
        heads: H and K.
        window: How many tokens a query sees, itself included; None is all.

    Returns:
        [B, T, H, C].
    """
    library = kernels.library()
    assert library is not None  # as `taken` found
    batch, length, _, size = qkv.shape
    shape = Shape(heads=heads[0], kv_heads=heads[1], head_dim=size, eps=eps, threads=torch.get_num_threads())
    panel = library.panel_width()
    tile = size * panel + -(-size // panel) * panel * panel
    tiles = torch.empty(batch * heads[1] * -(-length // panel) * tile)
    out = torch.empty(batch, length, heads[0], size)
    given = [tensor.detach().contiguous() for tensor in (*norms, *tables)]
    library.attend_sequences(
        ctypes.byref(shape),
        c_int64(window or 0),
        c_int64(batch),
        c_int64(length),
        *(c_void_p(tensor.data_ptr()) for tensor in (*given, qkv, tiles, out)),
    )
    return out
