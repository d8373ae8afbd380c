"""Prompts into the cache: short ones whole, a long one a chunk at a time, so that only a chunk's activations are held.

What grows with the prompt is the cache, and on one full layer at a time a copy of it and a mask of a chunk's rows.

Shapes: T tokens of a chunk, D hidden, K key-value heads, C head dimension.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .cache import KVCache
from .model import Mellum

CHUNK = 1024
"""Tokens computed together. On full layers their mask has a row for each and a column for every token so far."""


def padded(prompts: Sequence[Sequence[int]], device: torch.device | str = "cpu") -> Tensor:
    """Prompts side by side, [B, T]."""
    longest = max(len(prompt) for prompt in prompts)
    return torch.tensor([[*prompt, *[0] * (longest - len(prompt))] for prompt in prompts], device=device)


def whole(model: Mellum, cache: KVCache, prompts: Sequence[Sequence[int]], first: int, *, draft: bool) -> Tensor:
    """Run prompts in one piece and fill rows of the cache, from `first` on.

    Returns:
        [B, D] state of each one's last token, after the final norm.
    """
    lengths = [len(prompt) for prompt in prompts]
    places = range(first, first + len(prompts))
    ids = padded(prompts, model.device)
    kept: list[tuple[Tensor, Tensor]] = []
    hidden = model.trunk(ids, kept=kept).hidden
    cache.fill(places, lengths, kept)
    if draft and max(lengths) > 1:
        kept = []
        model.mtp_hidden(ids, hidden, kept=kept)
        cache.fill(places, [length - 1 for length in lengths], kept, first_layer=len(model.layers))
    return hidden[torch.arange(len(prompts)), [length - 1 for length in lengths]]


def prefill(
    model: Mellum, cache: KVCache, row: int, prompt: Sequence[int], *, draft: bool, chunk: int = CHUNK
) -> Tensor:
    """Run one prompt and fill its row of the cache.

    Args:
        model: The model.
        cache: It must have room.
        row: Of the cache.
        prompt: Token ids.
        draft: Whether the MTP head's cache is filled as well.
        chunk: Tokens computed together.

    Returns:
        [D] state of the last token, after the final norm.
    """
    hidden = torch.empty(0)
    for begin in range(0, len(prompt), chunk):
        ids = torch.tensor([prompt[begin : begin + chunk]], device=model.device)
        hidden = _trunk(model, cache, row, begin, ids)
        if draft:  # each state with the token after it, which the last one of the prompt does not have yet
            following = torch.tensor([prompt[begin + 1 : begin + 1 + chunk]], device=model.device, dtype=torch.long)
            if following.shape[1]:
                _head(model, cache, row, begin, following, hidden[:, : following.shape[1]])
    return hidden[0, -1]


def _trunk(model: Mellum, cache: KVCache, row: int, begin: int, ids: Tensor) -> Tensor:
    positions = torch.arange(begin, begin + ids.shape[1], device=ids.device)[None]
    layouts = model.layouts(positions, packed=False)
    x: Tensor = model.embed_tokens(ids)
    for index, (layer, kind) in enumerate(zip(model.layers, model.config.layer_types, strict=True)):
        kept: list[tuple[Tensor, Tensor]] = []
        x, _ = layer(x, layouts[kind], kept, _past(cache, row, begin, index))
        cache.extend(row, begin, index, kept[0][0][0], kept[0][1][0])
    hidden: Tensor = model.norm(x)
    return hidden


def _past(cache: KVCache, row: int, begin: int, layer: int) -> tuple[Tensor, Tensor] | None:
    return cache.past(row, begin, layer) if begin else None


def _head(model: Mellum, cache: KVCache, row: int, begin: int, following: Tensor, hidden: Tensor) -> None:
    assert model.mtp is not None  # who drafts has one
    index = len(model.layers)
    positions = torch.arange(begin, begin + following.shape[1], device=following.device)[None]
    layout = model.layouts(positions, packed=False, shift=1)[model.config.mtp_layer_type]
    kept: list[tuple[Tensor, Tensor]] = []
    model.mtp(model.embed_tokens(following), hidden, layout, kept, _past(cache, row, begin, index))
    cache.extend(row, begin, index, kept[0][0][0], kept[0][1][0])
