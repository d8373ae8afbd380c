"""Grouped-query attention with QK-norm, full or in a sliding window, over single or packed documents.

The window is computed in blocks of queries against the keys they can see, so that its cost grows with T·W, not T².

Shapes: B batch, T time, D hidden, H query heads, K key-value heads, C head dimension, W window.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import sequences
from .config import LayerType, MellumConfig
from .cpu import NormRotate, Windows, written_out
from .norm import Norm
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
        q: [B, T, H, C].
        k: [B, T, K, C].
        v: [B, T, K, C].
        window: How many tokens a query sees, itself included; None is all.
        starts: [B, T] index of the first token of each token's document.

    Returns:
        [B, T, H, C].
    """
    length = q.shape[1]
    if window is not None and window >= length:
        window = None
    if window is None:
        if starts is None:
            return _sdpa(q, k, v, None)
        index = torch.arange(length, device=q.device)
        seen = (index[None, :] <= index[:, None]) & (index >= starts[:, :, None])  # [B, T, T]
        return _sdpa(q, k, v, seen[:, None])
    if q.is_cuda:
        return _flex(q, k, v, window, starts)
    return _blocked(q, k, v, window, starts)


def attend_after(past: tuple[Tensor, Tensor], q: Tensor, k: Tensor, v: Tensor, window: int | None) -> Tensor:
    """Causal attention of a sequence's next tokens.

    Args:
        past: Keys and values [B, P, K, C] of the tokens before: all of them, or at least the last `window` - 1.
        q: [B, T, H, C].
        k: [B, T, K, C].
        v: [B, T, K, C].
        window: As in `attend`.

    Returns:
        [B, T, H, C].
    """
    before, length = past[0].shape[1], q.shape[1]
    keys, values = torch.cat((past[0], k), 1), torch.cat((past[1], v), 1)
    if window is not None:  # the past is short: queries in front of it, whose results are dropped, fill the blocks up
        return attend(F.pad(q, (0, 0, 0, 0, before, 0)), keys, values, window)[:, before:]
    seen = (
        torch.arange(before + length, device=q.device)
        <= torch.arange(before, before + length, device=q.device)[:, None]
    )
    return _sdpa(q, keys, values, seen)


def _sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of whole sequences, [B, T, heads, C] each; causal where there is no mask."""
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=True)
    return out.transpose(1, 2)


def _blocked(q: Tensor, k: Tensor, v: Tensor, window: int, starts: Tensor | None) -> Tensor:
    """The first `window` queries are plain causal attention; the others go in blocks, each with a full window.

    A block of `step` queries sees the `window + step` keys that end with its last (the first of them is hidden from
    all; without it the products would be of odd width and a quarter slower). The band among them is the same for every
    block, so one small mask serves all.
    """
    batch, length = q.shape[:2]
    head_starts = None if starts is None else starts[:, :window]
    head = attend(q[:, :window], k[:, :window], v[:, :window], None, head_starts)
    step = query_block(window)
    count = -(-(length - window) // step)
    if missing := window + count * step - length:  # the queries beyond the end are dropped, their keys never seen
        q, k, v = (F.pad(x, (0, 0, 0, 0, 0, missing)) for x in (q, k, v))
    reach = window + step
    column, row = torch.arange(reach, device=q.device), torch.arange(step, device=q.device)[:, None]
    hidden = (column <= row) | (column > row + window)  # [step, reach]
    if starts is not None:
        keys = step * torch.arange(count, device=q.device)[:, None] + column  # [count, reach]
        first = F.pad(starts[:, window:], (0, missing)).view(batch, count, step, 1)
        hidden = (hidden | (keys[:, None] < first)).view(batch * count, 1, step, reach)
    mask = torch.zeros(hidden.shape, dtype=q.dtype, device=q.device).masked_fill_(hidden, float("-inf"))
    if starts is None and not torch.is_grad_enabled():  # nothing is copied
        parts = [
            _sdpa(q[:, first + window : first + reach], k[:, first : first + reach], v[:, first : first + reach], mask)
            for first in range(0, count * step, step)
        ]
        return torch.cat((head, *parts), dim=1)[:, :length]
    q_blocks = q[:, window:].reshape(batch * count, step, *q.shape[2:])
    k_blocks, v_blocks = (_windows(x, reach, step, count) for x in (k, v))
    rest = _sdpa(q_blocks, k_blocks, v_blocks, mask).reshape(batch, count * step, *q.shape[2:])
    return torch.cat((head, rest[:, : length - window]), dim=1)


def _windows(x: Tensor, length: int, step: int, count: int) -> Tensor:
    result: Tensor = Windows.apply(x, length, step, count)  # type: ignore[no-untyped-call]
    return result


_flex_compiled = None


def _flex(q: Tensor, k: Tensor, v: Tensor, window: int, starts: Tensor | None) -> Tensor:
    """Windows on CUDA: FlexAttention skips blocks that the mask empties. One compiled callable for the process."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    global _flex_compiled
    if _flex_compiled is None:
        _flex_compiled = torch.compile(flex_attention, dynamic=False)

    def seen(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        near = (key <= query) & (key > query - window)
        return near if starts is None else near & (key >= starts[batch, query])

    batch, _, length, _ = q.shape
    mask = create_block_mask(seen, None if starts is None else batch, None, length, length, device=q.device)
    result: Tensor = _flex_compiled(q, k, v, block_mask=mask, enable_gqa=True)
    return result.transpose(1, 2)


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
        self.q_norm = Norm(self.head_dim, eps=config.rms_norm_eps)
        self.k_norm = Norm(self.head_dim, eps=config.rms_norm_eps)

    def forward(
        self,
        x: Tensor,
        layout: Layout,
        kept: list[tuple[Tensor, Tensor]] | None = None,
        past: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Attend within the sequence.

        Args:
            x: [B, T, D].
            layout: Positions and mask of this layer's type.
            kept: Where given, the layer's keys and values, each [B, T, K, C], are appended: a cache is filled of them.
            past: Keys and values [B, P, K, C] of the tokens before, as far back as any of these sees.

        Returns:
            [B, T, D].
        """
        batch, length, _ = x.shape
        heads = (self.heads, self.kv_heads, self.kv_heads)
        qkv = self.qkv_proj(x).view(batch, length, -1, self.head_dim)
        q, k, v = qkv.split(heads, dim=2)
        if past is None and sequences.taken(qkv, layout.starts):
            norms = self.q_norm.weight, self.k_norm.weight
            tables = layout.cos, layout.sin
            out = sequences.attended(qkv, norms, self.eps, tables, heads[:2], layout.window)
            if kept is not None:
                kept.append((k, v))
            done: Tensor = self.o_proj(out.reshape(batch, length, -1))
            return done
        q = self._turned(q, self.q_norm, layout)
        k = self._turned(k, self.k_norm, layout)
        if kept is not None:
            kept.append((k, v))
        if past is None:
            out = attend(q, k, v, layout.window, layout.starts)
        else:
            out = attend_after(past, q, k, v, layout.window)
        result: Tensor = self.o_proj(out.reshape(batch, length, -1))
        return result

    def _turned(self, x: Tensor, norm: Norm, layout: Layout) -> Tensor:
        """Heads [B, T, heads, C] after their norm and rotation."""
        if written_out(x):
            result: Tensor = NormRotate.apply(x, norm.weight, layout.cos, layout.sin, self.eps)  # type: ignore[no-untyped-call]
            return result
        return rotate(norm(x), layout.cos, layout.sin)
