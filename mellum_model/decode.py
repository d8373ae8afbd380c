"""The next few tokens of each row against the cache: the model's mathematics with the fewest operations.

At batch 1 a small model spends its time starting operations and reading weights, not computing. So: no modules are
called, all layers' rotary tables come from one product that has the q and k norms' weights in it, masks are built once
a step and only where rows differ, and weights lie as their products read them fastest (`decode_layer`, `few_rows`).

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
from .decode_layer import LayerForm, PackedLayer, PlainLayer, Rms, packs
from .few_rows import Matrix
from .layer import DecoderLayer
from .model import Mellum
from .prefill import whole


@dataclass(slots=True)
class _Layer:
    form: LayerForm
    kind: LayerType
    index: int
    """In the cache."""
    order: int = 0
    """Within its group."""


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
    """Where to write, counted in heads of slots over the whole store, [N·K]."""
    used: int
    """Slots that may hold anything seen."""
    mask: Tensor | None
    """Added to the scores, [B, 1, T, used], or [B·K, T·G, used] for the packed form; None: all is seen."""


class Decoder:
    """Steps of a model over its cache. Weights must not change while it lives: some are copied."""

    def __init__(self, model: Mellum, cache: KVCache) -> None:
        config = model.config
        self.model, self.cache, self.config = model, cache, config
        self.heads, self.kv_heads, self.head_dim = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        )
        self.packed = packs(model)
        self.unit = Rms(self.head_dim, config.rms_norm_eps)
        out = model.embed_tokens if model.lm_head is None else model.lm_head
        self.out = Matrix(out.weight) if self.packed else None
        form: type[PackedLayer] | type[PlainLayer] = PackedLayer if self.packed else PlainLayer
        modules = [cast(DecoderLayer, layer) for layer in model.layers]
        self.trunk = [
            _Layer(form(module, config), module.self_attn.layer_type, index) for index, module in enumerate(modules)
        ]
        self.groups: dict[LayerType, _Group] = {}
        for kind in sorted(set(config.layer_types)):
            own = [layer for layer in self.trunk if layer.kind == kind]
            self.groups[kind] = self._group(own, [modules[layer.index] for layer in own], kind, 0)
        self.head_layer: _Layer | None = None
        if model.mtp is not None:
            module = cast(DecoderLayer, model.mtp.layers[0])
            self.head_layer = _Layer(form(module, config), config.mtp_layer_type, len(modules))
            self.head_group = self._group([self.head_layer], [module], config.mtp_layer_type, 1)
            self.fc = Matrix(model.mtp.fc.weight) if self.packed else model.mtp.fc

    @torch.no_grad()
    def _group(self, layers: list[_Layer], modules: list[DecoderLayer], kind: LayerType, shift: int) -> _Group:
        for order, layer in enumerate(layers):
            layer.order = order
        # The packed form's norm leaves √C to these tables; for q it cancels the scale of the scores, 1/√C.
        k_gain = self.unit.gain if self.packed else 1.0
        norms = torch.stack(
            [
                torch.cat(
                    (
                        module.self_attn.q_norm.weight.expand(self.heads, -1),
                        (module.self_attn.k_norm.weight * k_gain).expand(self.kv_heads, -1),
                    )
                )
                for module in modules
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
        kv_heads, device = self.kv_heads, group.norms.device
        if len(positions) == 1 and length == 1:
            here = positions[0]
            cos, sin = group.cos[here : here + 1], group.sin[here : here + 1]
        else:
            flat = [position + step for position in positions for step in range(length)]
            index = torch.tensor(flat, device=device)
            cos, sin = group.cos.index_select(0, index), group.sin.index_select(0, index)
        places = torch.tensor(
            [
                (row * kv_heads + head) * slots + (position + step) % slots
                for row, position in enumerate(positions)
                for step in range(length)
                for head in range(kv_heads)
            ],
            device=device,
        )
        top, bottom = max(positions), min(positions)
        used = min(top + length, slots)
        seen_all = length == 1 and (
            (top == bottom and (window is None or top < window)) or (window == slots and bottom >= slots - 1)
        )
        mask = None if seen_all else self._mask(positions, length, slots, used, window, group.norms)
        if mask is not None and self.packed:
            shape = (len(positions), kv_heads, length, self.heads // kv_heads, used)
            mask = mask[:, :, :, None].expand(shape).reshape(len(positions) * kv_heads, -1, used)
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

    def _attended(self, layer: _Layer, step: _Step, x_ND: Tensor, rows: int, length: int) -> Tensor:
        """Heads [N, H·C] of a layer's attention; the tokens' own keys and values are stored first."""
        heads, kv_heads, dim = self.heads, self.kv_heads, self.head_dim
        qkv = layer.form.qkv(x_ND).view(rows * length, -1, dim)
        qk = qkv[:, : heads + kv_heads]
        qk = self.unit(qk) if self.packed else F.rms_norm(qk, (dim,), eps=self.config.rms_norm_eps)
        qk = torch.addcmul(qk * step.cos[layer.order], qk.roll(dim // 2, -1), step.sin[layer.order])
        keys, values = self.cache.by_slot[layer.index]
        keys.index_copy_(0, step.places, qk[:, heads:].reshape(-1, dim))
        values.index_copy_(0, step.places, qkv[:, heads + kv_heads :].reshape(-1, dim))
        # The G query heads of a key-value head are G queries of it: no key is repeated.
        q = qk[:, :heads]
        if not self.packed:
            keys, values = self.cache.keys[layer.index], self.cache.values[layer.index]
            k, v = keys[:rows, :, : step.used], values[:rows, :, : step.used]  # [B, K, used, C]
            q = q.reshape(rows, length, heads, dim).transpose(1, 2)
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=step.mask, enable_gqa=True)
            return out.transpose(1, 2).reshape(rows * length, -1)
        # For so few queries two products and a softmax are done before torch's fused kernel has set itself up.
        keys, values = self.cache.by_head[layer.index]
        last = rows * kv_heads
        k, v = keys[:last, : step.used].transpose(1, 2), values[:last, : step.used]
        if length > 1:
            q = q.reshape(rows, length, kv_heads, -1, dim).transpose(1, 2)
        q = q.reshape(last, -1, dim)  # [B·K, T·G, C]
        scores = torch.bmm(q, k) if step.mask is None else torch.baddbmm(step.mask, q, k)
        out = torch.bmm(scores.softmax(-1), v)
        if length > 1:
            out = out.view(rows, kv_heads, length, -1, dim).transpose(1, 2)
        return out.reshape(rows * length, -1)

    def _layer(self, layer: _Layer, step: _Step, x_ND: Tensor, rows: int, length: int) -> Tensor:
        attended = self._attended(layer, step, x_ND, rows, length)
        return layer.form.fed(layer.form.joined(x_ND, attended))

    @torch.inference_mode()
    def prompts(self, prompts: list[list[int]], first: int, *, draft: bool) -> Tensor:
        """Run whole prompts and fill their rows of the cache.

        Args:
            prompts: Token ids of each.
            first: Row of the first.
            draft: Whether the MTP head's cache is filled as well.

        Returns:
            [B, D] the state of each one's last token.
        """
        return whole(self.model, self.cache, prompts, first, draft=draft)

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
            x = self._layer(layer, plans[layer.kind], x, rows, length)
        hidden: Tensor = self.model.norm(x)
        return hidden.view(rows, length, -1)

    @torch.inference_mode()
    def draft(self, tokens: list[list[int]], states: Tensor, positions: list[int]) -> Tensor:
        """Run the MTP head on what it has not read yet of rows 0 … B - 1.

        Args:
            tokens: The next ones of each row, one or more, each the token after the one whose state is given.
            states: [B, at least as many, D] after the trunk's final norm (or the head's own, when it drafts further).
            positions: Position of each row's last token.

        Returns:
            [B, D] the head's state of each row's last pair, ready for the output matrix.
        """
        head, layer = self.model.mtp, self.head_layer
        if head is None or layer is None:
            raise ValueError("this model has no MTP head")
        rows, counts = len(tokens), [len(row) for row in tokens]
        length = max(counts)
        # A row with fewer runs on into what is not decided yet; its own next pairs are written over that.
        ids = torch.tensor([row + [0] * (length - len(row)) for row in tokens], device=self.model.device)
        embedded = F.embedding(ids.flatten(), self.model.embed_tokens.weight)
        before = states[:, :length].reshape(rows * length, -1)
        x = self.fc(torch.cat((head.pre_fc_norm_embedding(embedded), head.pre_fc_norm_hidden(before)), -1))
        firsts = [position - count for position, count in zip(positions, counts, strict=True)]
        out: Tensor = head.norm(self._layer(layer, self._plan(self.head_group, firsts, length), x, rows, length))
        return out.view(rows, length, -1)[torch.arange(rows), torch.tensor(counts) - 1]

    @torch.inference_mode()
    def logits(self, states: Tensor) -> Tensor:
        """[..., V] of states [..., D] that `step` or `draft` gave."""
        if self.out is None:
            return self.model.head(states)
        return self.out(states.flatten(0, -2)).view(*states.shape[:-1], -1)

    @torch.inference_mode()
    def advance(
        self, tokens: list[list[int]], states: Tensor | None, positions: list[int], drafts: int
    ) -> tuple[list[list[int]], list[list[int]], Tensor]:
        """A step of greedy decoding: drafts, then the trunk on each row's next token and its drafts.

        Args:
            tokens: As `draft` takes them; the last of a row is the one that the trunk has not read yet.
            states: As `draft` takes them; None where nothing is drafted.
            positions: Position of each row's last token.
            drafts: How many, k.

        Returns:
            The drafts, k a row; the most probable token after each token that was read, k + 1 a row; the states of
            these [B, k + 1, D].
        """
        found: list[list[int]] = [[] for _ in tokens]
        follow = tokens
        for ahead in range(drafts):
            assert states is not None  # as there are drafts
            drafted = self.draft(follow, states, [position + ahead for position in positions])
            follow = self.logits(drafted).argmax(-1, keepdim=True).tolist()
            for row, token in zip(found, follow, strict=True):
                row += token
            states = drafted[:, None]
        read = [[given[-1], *drafts] for given, drafts in zip(tokens, found, strict=True)]
        after = self.step(torch.tensor(read, device=self.model.device), positions)
        return found, self.logits(after).argmax(-1).tolist(), after
