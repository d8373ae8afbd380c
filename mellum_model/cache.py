"""Keys and values of the tokens so far: all of them on full layers, a ring of the window on sliding ones.

A token at position p lies in slot p mod S of its row. Rotation is in the keys already, so the order of slots does not
matter. Drafting writes ahead of what is accepted; a ring then needs as many slots beyond the window as may be taken
back, or a rejected draft would have overwritten a key that is still seen.

Shapes: R rows, K key-value heads, S slots, C head dimension; each layer's keys and values are [R, K, S, C] each.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .config import MellumConfig
from .huge_pages import Arena

_GRAIN = 256


def kv_bytes(config: MellumConfig, context: int, *, bytes_per_value: int = 2, rows: int = 1) -> int:
    """Bytes of the trunk's cache at a context length, bfloat16 unless told otherwise."""
    slots = sum(min(context, config.window(kind) or context) for kind in config.layer_types)
    return rows * slots * 2 * config.num_key_value_heads * config.head_dim * bytes_per_value


class KVCache:
    """Cache of several rows that grows with what is stored in it."""

    def __init__(
        self, config: MellumConfig, *, slack: int = 0, device: torch.device | str = "cpu", dtype: torch.dtype
    ) -> None:
        """Start empty.

        Args:
            config: Layers; an MTP layer, where there is one, is the last.
            slack: Slots of a ring beyond its window: how far ahead of the accepted tokens is ever written.
            device: Where it lies.
            dtype: Of keys and values.
        """
        self.windows = [config.window(kind) for kind in config.attention_layers]
        self.slack = slack
        self.rows = 0
        self.tokens = 0
        self._heads = (config.num_key_value_heads, config.head_dim)
        self.device, self.dtype = torch.device(device), dtype
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.by_head: list[tuple[Tensor, Tensor]] = []
        """Keys and values of each layer as [R·K, S, C]: made once, because decoding asks for them at every step."""
        self.by_slot: list[tuple[Tensor, Tensor]] = []
        """The same as [R·K·S, C]."""
        self.reserve(0, 0)

    def slots(self, layer: int) -> int:
        """Slots of a row of this layer."""
        window = self.windows[layer]
        return self.tokens if window is None else min(self.tokens, window + self.slack)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(tensor.nbytes for tensor in (*self.keys, *self.values))

    def reserve(self, rows: int, tokens: int) -> bool:
        """Make room for `rows` rows of `tokens` tokens, keeping what is stored. True if anything moved."""
        if rows <= self.rows and tokens <= self.tokens and self.keys:
            return False
        if tokens > self.tokens:  # doubling: a long generation is copied a few times, not at every step
            tokens = -(-max(tokens, min(2 * self.tokens, tokens + 65_536)) // _GRAIN) * _GRAIN
        old = [self.slots(layer) for layer in range(len(self.windows))]
        self.rows, self.tokens = max(rows, self.rows), max(tokens, self.tokens)
        kv_heads, head_dim = self._heads
        arena = Arena(self.device, self.dtype)
        for store in (self.keys, self.values):
            grown = [arena.zeros(self.rows, kv_heads, self.slots(layer), head_dim) for layer in range(len(old))]
            for layer, before in enumerate(store):
                # A ring that was shorter than its window has not wrapped yet: its slots keep their numbers.
                grown[layer][: before.shape[0], :, : old[layer]] = before
            store[:] = grown
        stored = list(zip(self.keys, self.values, strict=True))
        self.by_head = [(keys.flatten(0, 1), values.flatten(0, 1)) for keys, values in stored]
        self.by_slot = [(keys.flatten(0, 2), values.flatten(0, 2)) for keys, values in stored]
        return True

    def fill(
        self, rows: Sequence[int], lengths: Sequence[int], kept: Sequence[tuple[Tensor, Tensor]], first_layer: int = 0
    ) -> None:
        """Store what a forward over whole prompts kept.

        Args:
            rows: Row of each prompt.
            lengths: Tokens of each prompt; what follows is padding.
            kept: Keys and values [B, T, K, C] of consecutive layers.
            first_layer: Of `kept`.
        """
        for layer, (keys, values) in enumerate(kept, first_layer):
            slots = self.slots(layer)
            for store, fresh in ((self.keys[layer], keys), (self.values[layer], values)):
                for index, (row, length) in enumerate(zip(rows, lengths, strict=True)):
                    begin = max(0, length - slots)
                    last = fresh[index, begin:length].transpose(0, 1)  # [K, at most S, C]
                    if begin == 0:
                        store[row, :, :length] = last
                    else:
                        store[row, :, torch.arange(begin, length, device=last.device) % slots] = last

    def extend(self, row: int, begin: int, layer: int, keys: Tensor, values: Tensor) -> None:
        """Store a row's tokens from position `begin` on: keys and values [T, K, C] of one layer."""
        slots, length = self.slots(layer), keys.shape[0]
        first = max(0, length - slots)
        places = torch.arange(begin + first, begin + length, device=keys.device) % slots
        self.keys[layer][row, :, places] = keys[first:].transpose(0, 1)
        self.values[layer][row, :, places] = values[first:].transpose(0, 1)

    def past(self, row: int, end: int, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values [1, P, K, C] before position `end`, as many as the token there sees."""
        window = self.windows[layer]
        begin = 0 if window is None else max(0, end - window + 1)
        places = torch.arange(begin, end, device=self.device) % self.slots(layer)
        found = (store[layer][row].index_select(1, places).transpose(0, 1)[None] for store in (self.keys, self.values))
        keys, values = found
        return keys, values

    def move(self, source: int, target: int, length: int) -> None:
        """Copy one row's `length` tokens over another row."""
        for store in (self.keys, self.values):
            for tensor in store:
                used = min(length, tensor.shape[2])
                tensor[target, :, :used] = tensor[source, :, :used]
