"""The next few tokens of each row against the cache: the model's mathematics with the fewest operations.

At batch 1 a small model spends its time starting operations, not computing. So: no modules are called, all layers'
rotary tables come from one product that has the q and k norms' weights in it, masks are built once a step and only
where rows differ, residuals are added by the matrix product itself, and only the experts that are hit are touched.

Shapes: B rows, T tokens a row, N = B·T, D hidden, H heads, K key-value heads, G = H/K, C head dimension, S slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from .cache import KVCache
from .config import LayerType
from .layer import DecoderLayer
from .model import Mellum
from .moe import SparseMlp, choose, grouped_experts, sorted_experts

FEW = 2
"""Tokens up to which each expert's product is a vector's: sorting by expert costs more than it joins."""


class _Norm:
    """RMS norm in four small operations, where torch's own on CPU is a dozen.

    x·w·√D / hypot(‖x‖, √(D·eps)); half precision is left to torch, which widens it.
    """

    def __init__(self, weight: Tensor, eps: float) -> None:
        self.weight, self.eps = weight.detach(), eps
        self.size = (weight.shape[0],)
        self.scaled = self.weight * weight.shape[0] ** 0.5
        self.floor = self.weight.new_tensor((weight.shape[0] * eps) ** 0.5)
        self.short = weight.dtype == torch.float32 and weight.device.type == "cpu"

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise [..., D]."""
        if not self.short:
            return F.rms_norm(x, self.size, self.weight, self.eps)
        norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        result: Tensor = (x * self.scaled).div_(torch.hypot(norm, self.floor))
        return result


class _Layer:
    """One layer's weights in the form that the products want: views, but for the norms, which are copied."""

    def __init__(self, module: DecoderLayer, index: int, eps: float) -> None:
        self.module, self.index = module, index
        self.order = 0  # within its group
        attention = module.self_attn
        self.kind: LayerType = attention.layer_type
        self.norm1 = _Norm(module.input_layernorm.weight, eps)
        self.norm2 = _Norm(module.post_attention_layernorm.weight, eps)
        self.qkv, self.qkv_bias = attention.qkv_proj.weight, attention.qkv_proj.bias
        self.o_t, self.o_bias = attention.o_proj.weight.t(), attention.o_proj.bias
        self.mlp = module.mlp
        if isinstance(module.mlp, SparseMlp):
            self.router = module.mlp.gate.weight
            experts = module.mlp.experts
            self.gate_up, self.down = experts.gate_up_proj.unbind(0), experts.down_proj.unbind(0)
            self.gate_up_t = [weight.t() for weight in self.gate_up]
            self.down_t = [weight.t() for weight in self.down]


@dataclass(slots=True)
class _Group:
    """Layers that share a type and positions: one rotary table, one mask."""

    layers: list[_Layer]
    kind: LayerType
    shift: int
    """Rotary position less cache index: 1 in the MTP head."""
    norms: Tensor
    """q and k norm weights over all heads, [layers, 1, H + K, C]."""
    rolled: Tensor
    """The same, turned by C/2."""
    cos: Tensor
    """[positions, 1, C]."""
    sin: Tensor


@dataclass(slots=True)
class _Step:
    """What a group's layers need to know of the tokens of this step."""

    cos: tuple[Tensor, ...]
    sin: tuple[Tensor, ...]
    places: Tensor
    """Where to write: row · S + slot, [N]."""
    used: int
    """Slots that may hold anything seen."""
    mask: Tensor | None
    """[B, 1, T, used] added to the scores; None: all is seen."""


class Decoder:
    """Steps of a model over its cache."""

    def __init__(self, model: Mellum, cache: KVCache) -> None:
        config = model.config
        self.model, self.cache, self.config = model, cache, config
        self.heads, self.kv_heads, self.head_dim = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        )
        self.eps = config.rms_norm_eps
        self.final_norm = _Norm(model.norm.weight, self.eps)
        self.unit = _Norm(torch.ones(self.head_dim, dtype=model.dtype, device=model.device), self.eps)
        trunk = [_Layer(cast(DecoderLayer, layer), index, self.eps) for index, layer in enumerate(model.layers)]
        self.trunk = trunk
        self.groups = {
            kind: self._group([layer for layer in trunk if layer.kind == kind], kind, 0)
            for kind in sorted(set(config.layer_types))
        }
        self.head_layer: _Layer | None = None
        if model.mtp is not None:
            self.head_layer = _Layer(cast(DecoderLayer, model.mtp.layers[0]), len(trunk), self.eps)
            head = model.mtp
            self.head_norms = tuple(
                _Norm(norm.weight, self.eps)
                for norm in (head.pre_fc_norm_embedding, head.pre_fc_norm_hidden, head.norm)
            )
            self.head_group = self._group([self.head_layer], config.mtp_layer_type, 1)

    @torch.no_grad()
    def _group(self, layers: list[_Layer], kind: LayerType, shift: int) -> _Group:
        for order, layer in enumerate(layers):
            layer.order = order
        norms = torch.stack(
            [
                torch.cat(
                    (
                        layer.module.self_attn.q_norm.weight.expand(self.heads, -1),
                        layer.module.self_attn.k_norm.weight.expand(self.kv_heads, -1),
                    )
                )
                for layer in layers
            ]
        )[:, None]
        empty = norms.new_empty(0, 1, self.head_dim)
        return _Group(layers, kind, shift, norms, norms.roll(self.head_dim // 2, -1), empty, empty)

    def _tables(self, group: _Group) -> None:
        """Cover every position that the cache has room for."""
        if group.cos.shape[0] < self.cache.tokens:
            positions = torch.arange(self.cache.tokens, device=group.norms.device) + group.shift
            cos, sin = self.model.ropes[group.kind].tables(positions, group.norms.dtype)
            group.cos, group.sin = cos[:, None], sin[:, None]

    def _plan(self, group: _Group, positions: list[int], length: int) -> _Step:
        """Tables, places and mask for tokens at `positions` … `positions` + length - 1 of each row."""
        self._tables(group)
        slots = self.cache.slots(group.layers[0].index)
        window = self.config.window(group.kind)
        device = group.norms.device
        if len(positions) == 1 and length == 1:
            here = positions[0]
            cos, sin = group.cos[here : here + 1], group.sin[here : here + 1]
            places = torch.tensor([here % slots], device=device)
        else:
            flat = [position + step for position in positions for step in range(length)]
            index = torch.tensor(flat, device=device)
            cos, sin = group.cos.index_select(0, index), group.sin.index_select(0, index)
            rows = [row * slots for row in range(len(positions)) for _ in range(length)]
            places = torch.tensor(
                [row + position % slots for row, position in zip(rows, flat, strict=True)], device=device
            )
        top, bottom = max(positions), min(positions)
        used = min(top + length, slots)
        seen_all = length == 1 and (
            (top == bottom and (window is None or top < window)) or (window == slots and bottom >= slots - 1)
        )
        mask = None if seen_all else self._mask(positions, length, slots, used, window, group.norms)
        return _Step((group.norms * cos).unbind(0), (group.rolled * sin).unbind(0), places, used, mask)

    def _mask(
        self, positions: list[int], length: int, slots: int, used: int, window: int | None, like: Tensor
    ) -> Tensor:
        last = [position + length - 1 for position in positions]
        slot = torch.arange(used, device=like.device)
        newest = torch.tensor(last, device=like.device)[:, None, None]
        age = torch.remainder(newest - slot, slots)  # [B, 1, used]: slots count back from the newest token
        # The query that is `ahead` tokens before the newest sees ages from `ahead` on, a window of them at most.
        ahead = torch.arange(length - 1, -1, -1, device=like.device)[:, None]  # [T, 1]
        limits = [[min(top + 1, (window or slots) + length - 1 - step) for step in range(length)] for top in last]
        hidden = (age < ahead) | (age >= torch.tensor(limits, device=like.device)[:, :, None])  # [B, T, used]
        return torch.zeros(hidden.shape, dtype=like.dtype, device=like.device).masked_fill_(hidden, float("-inf"))[
            :, None
        ]

    def _attend(self, layer: _Layer, step: _Step, x_ND: Tensor, rows: int, length: int) -> Tensor:
        """The residual stream after this layer's attention."""
        heads, kv_heads, dim = self.heads, self.kv_heads, self.head_dim
        h_ND = layer.norm1(x_ND)
        qkv = F.linear(h_ND, layer.qkv, layer.qkv_bias).view(rows * length, -1, dim)
        qk = self.unit(qkv[:, : heads + kv_heads])
        qk = torch.addcmul(qk * step.cos[layer.order], qk.roll(dim // 2, -1), step.sin[layer.order])
        keys, values = self.cache.keys[layer.index], self.cache.values[layer.index]
        keys.view(-1, kv_heads, dim).index_copy_(0, step.places, qk[:, heads:])
        values.view(-1, kv_heads, dim).index_copy_(0, step.places, qkv[:, heads + kv_heads :])
        k = keys[:rows, : step.used].transpose(1, 2)  # [B, K, used, C]
        v = values[:rows, : step.used].transpose(1, 2)
        if length == 1:  # the G query heads of a key-value head are G queries of it: nothing is repeated
            q = qk[:, :heads].view(rows, kv_heads, -1, dim)
            flat = F.scaled_dot_product_attention(q, k, v, attn_mask=step.mask).reshape(rows, -1)
        else:
            q = qk[:, :heads].view(rows, length, heads, dim).transpose(1, 2)
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=step.mask, enable_gqa=True)
            flat = out.transpose(1, 2).reshape(rows * length, -1)
        x_ND = torch.addmm(x_ND, flat, layer.o_t)
        return x_ND if layer.o_bias is None else x_ND + layer.o_bias

    def _feed(self, layer: _Layer, x_ND: Tensor) -> Tensor:
        """The residual stream after this layer's experts."""
        h_ND = layer.norm2(x_ND)
        if not isinstance(layer.mlp, SparseMlp):
            dense: Tensor = layer.mlp(h_ND)[0]
            return x_ND + dense
        logits = F.linear(h_ND.float(), layer.router.float())
        weights, experts = choose(logits, self.config.num_experts_per_tok, self.config.norm_topk_prob)
        if x_ND.is_cuda:
            parameters = layer.mlp.experts
            return x_ND + grouped_experts(h_ND, experts, weights, parameters.gate_up_proj, parameters.down_proj)
        if x_ND.shape[0] > FEW:
            fed: Tensor = sorted_experts(h_ND, experts, weights, layer.gate_up_t, layer.down_t)[0]
            return fed.add_(x_ND)
        chosen: list[list[int]] = experts.tolist()
        hidden = h_ND.new_empty(experts.numel(), layer.gate_up[0].shape[0])
        outs = iter(hidden.unbind(0))
        for token, own in zip(h_ND.unbind(0), chosen, strict=True):
            for expert in own:
                torch.mv(layer.gate_up[expert], token, out=next(outs))
        gate, up = hidden.chunk(2, -1)
        acts = iter(F.silu(gate).mul_(up).mul_(weights.to(h_ND.dtype).view(-1, 1)).unbind(0))
        for result, own in zip(x_ND.unbind(0), chosen, strict=True):  # attention's sum is ours to write to
            for expert in own:
                result.addmv_(layer.down[expert], next(acts))
        return x_ND

    @torch.inference_mode()
    def step(self, tokens: Tensor, positions: list[int]) -> Tensor:
        """Run the trunk on the next tokens of rows 0 … B - 1.

        Args:
            tokens: [B, T].
            positions: Position of each row's first token; the cache must have room.

        Returns:
            [B, T, D] after the final norm.
        """
        rows, length = tokens.shape
        plans = {kind: self._plan(group, positions, length) for kind, group in self.groups.items()}
        x = F.embedding(tokens.reshape(-1), self.model.embed_tokens.weight)
        for layer in self.trunk:
            x = self._feed(layer, self._attend(layer, plans[layer.kind], x, rows, length))
        return self.final_norm(x).view(rows, length, -1)

    @torch.inference_mode()
    def mtp_step(self, tokens: Tensor, hidden: Tensor, positions: list[int]) -> Tensor:
        """Run the MTP head on the next pairs of rows 0 … B - 1.

        Args:
            tokens: [B, T], each the token after the one whose state is given.
            hidden: [B, T, D] states after the trunk's final norm (or the head's own, when it drafts further).
            positions: Position of each row's first state.

        Returns:
            [B, T, D], ready for the output matrix.
        """
        head, layer = self.model.mtp, self.head_layer
        if head is None or layer is None:
            raise ValueError("this model has no MTP head")
        rows, length = tokens.shape
        embedding_norm, hidden_norm, out_norm = self.head_norms
        embedded = F.embedding(tokens.reshape(-1), self.model.embed_tokens.weight)
        pair = torch.cat(
            (
                embedding_norm(embedded),
                hidden_norm(hidden.reshape(rows * length, -1)),
            ),
            -1,
        )
        x = F.linear(pair, head.fc.weight)
        x = self._feed(layer, self._attend(layer, self._plan(self.head_group, positions, length), x, rows, length))
        return out_norm(x).view(rows, length, -1)
