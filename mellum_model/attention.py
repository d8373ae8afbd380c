"""Grouped-query attention with QK-norm, full or in a sliding window, over single or packed documents.

The window is computed in blocks of queries against the keys they can see, so that its cost grows with T·W, not T².

Shapes: B batch, T time, D hidden, H query heads, K key-value heads, C head dimension, W window.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import LayerType, MellumConfig
from .rope import rotate


@dataclass(frozen=True, slots=True)
class Layout:
    """Where tokens stand, computed once a forward for each layer type and shared by its layers."""

    cos: Tensor
    """[B or 1, T, 1, C]."""
    sin: Tensor
    window: int | None
    starts: Tensor | None
    """[B, T] index at which each token's document starts; None: one document a row."""


def query_block(window: int) -> int:
    """Queries that are computed together: fewer waste less of the window's edges, more make larger products."""
    return max(16, min(window // 2, 256))


def attend(q: Tensor, k: Tensor, v: Tensor, window: int | None, starts: Tensor | None = None) -> Tensor:
    """Causal attention.

    Args:
        q: [B, H, T, C].
        k: [B, K, T, C].
        v: [B, K, T, C].
        window: How many tokens a query sees, itself included; None is all.
        starts: [B, T] index of the first token of each token's document.

    Returns:
        [B, H, T, C].
    """
    length = q.shape[2]
    if window is not None and window >= length:
        window = None
    if window is None:
        if starts is None:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        index = torch.arange(length, device=q.device)
        seen = (index[None, :] <= index[:, None]) & (index >= starts[:, :, None])  # [B, T, T]
        return F.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None], enable_gqa=True)
    if q.is_cuda:
        return _flex(q, k, v, window, starts)
    return _blocked(q, k, v, window, starts)


def _blocked(q: Tensor, k: Tensor, v: Tensor, window: int, starts: Tensor | None) -> Tensor:
    """The first `window` queries are plain causal attention; the others go block by block, all with a full window."""
    length = q.shape[2]
    head_starts = None if starts is None else starts[:, :window]
    head = attend(q[:, :, :window], k[:, :, :window], v[:, :, :window], None, head_starts)
    step = query_block(window)
    parts = [head]
    offset = torch.arange(step, device=q.device)
    reach = torch.arange(step + window - 1, device=q.device)
    band = (reach >= offset[:, None]) & (reach < offset[:, None] + window)  # [step, step+W-1]
    shared = torch.zeros(band.shape, dtype=q.dtype, device=q.device).masked_fill_(~band, float("-inf"))
    for begin in range(window, length, step):
        end = min(begin + step, length)
        first, rows, columns = begin - window + 1, end - begin, end - begin + window - 1
        mask = shared[:rows, :columns]
        if starts is not None:
            keys = torch.arange(first, end, device=q.device)
            own = keys >= starts[:, begin:end, None]  # [B, rows, columns]
            mask = mask.masked_fill(~own, float("-inf"))[:, None]
        parts.append(
            F.scaled_dot_product_attention(
                q[:, :, begin:end], k[:, :, first:end], v[:, :, first:end], attn_mask=mask, enable_gqa=True
            )
        )
    return torch.cat(parts, dim=2)


_flex_compiled = None


def _flex(q: Tensor, k: Tensor, v: Tensor, window: int, starts: Tensor | None) -> Tensor:
    """Windows on CUDA: FlexAttention skips blocks that the mask empties. One compiled callable for the process."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    global _flex_compiled
    if _flex_compiled is None:
        _flex_compiled = torch.compile(flex_attention, dynamic=False)

    def seen(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        near = (key <= query) & (key > query - window)
        return near if starts is None else near & (key >= starts[batch, query])

    batch, _, length, _ = q.shape
    mask = create_block_mask(seen, None if starts is None else batch, None, length, length, device=q.device)
    result: Tensor = _flex_compiled(q, k, v, block_mask=mask, enable_gqa=True)
    return result


class Attention(nn.Module):
    """Self-attention of one layer. q, k and v are rows of one matrix, in that order."""

    def __init__(self, config: MellumConfig, layer_type: LayerType) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        )
        self.layer_type = layer_type
        self.eps = config.rms_norm_eps
        rows = (self.heads + 2 * self.kv_heads) * self.head_dim
        self.qkv_proj = nn.Linear(config.hidden_size, rows, bias=config.attention_bias)
        self.o_proj = nn.Linear(self.heads * self.head_dim, config.hidden_size, bias=config.attention_bias)
        self.q_norm = nn.RMSNorm(self.head_dim, eps=config.rms_norm_eps)
        self.k_norm = nn.RMSNorm(self.head_dim, eps=config.rms_norm_eps)

    def forward(self, x: Tensor, layout: Layout, kept: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
        """Attend within the sequence.

        Args:
            x: [B, T, D].
            layout: Positions and mask of this layer's type.
            kept: Where given, the layer's keys and values, each [B, T, K, C], are appended: a cache is filled of them.

        Returns:
            [B, T, D].
        """
        batch, length, _ = x.shape
        heads = (self.heads, self.kv_heads, self.kv_heads)
        q, k, v = self.qkv_proj(x).view(batch, length, -1, self.head_dim).split(heads, dim=2)
        q = rotate(self.q_norm(q), layout.cos, layout.sin)
        k = rotate(self.k_norm(k), layout.cos, layout.sin)
        if kept is not None:
            kept.append((k, v))
        out = attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), layout.window, layout.starts)
        result: Tensor = self.o_proj(out.transpose(1, 2).reshape(batch, length, -1))
        return result
