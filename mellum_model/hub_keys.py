"""Which hub keys are which parts of our parameters.

The hub has one key for each of q, k, v and for each expert's gate, up and down; here q, k, v are rows of one matrix and
the experts of a layer one 3-D tensor. The table is the single source for reading, writing and splitting gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from .config import MellumConfig

Index = tuple[int | slice, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """One hub key and where it lies in our parameter; an empty index is the whole of it."""

    key: str
    index: Index = ()

    def of(self, parameter: Tensor) -> Tensor:
        """The view of the parameter that is this key."""
        return parameter[self.index] if self.index else parameter


def pieces(config: MellumConfig) -> Iterator[tuple[str, list[Piece]]]:
    """Each of our parameters with its hub keys, in the order of the layers."""
    yield "embed_tokens.weight", [Piece("model.embed_tokens.weight")]
    for layer, kind in enumerate(config.mlp_types):
        yield from _layer(config, f"layers.{layer}.", f"model.layers.{layer}.", kind)
    yield "norm.weight", [Piece("model.norm.weight")]
    if not config.tie_word_embeddings:
        yield "lm_head.weight", [Piece("lm_head.weight")]
    if config.num_mtp_layers:
        for name in ("fc", "pre_fc_norm_embedding", "pre_fc_norm_hidden", "norm"):
            yield f"mtp.{name}.weight", [Piece(f"mtp.{name}.weight")]
        yield from _layer(config, "mtp.layers.0.", "mtp.layers.0.", "sparse")


def _layer(config: MellumConfig, ours: str, hub: str, kind: str) -> Iterator[tuple[str, list[Piece]]]:
    for name in ("input_layernorm", "post_attention_layernorm", "self_attn.q_norm", "self_attn.k_norm"):
        yield f"{ours}{name}.weight", [Piece(f"{hub}{name}.weight")]
    q = config.num_attention_heads * config.head_dim
    k = config.num_key_value_heads * config.head_dim
    rows = {"q": slice(0, q), "k": slice(q, q + k), "v": slice(q + k, q + 2 * k)}
    for part in ("weight", "bias") if config.attention_bias else ("weight",):
        yield (
            f"{ours}self_attn.qkv_proj.{part}",
            [Piece(f"{hub}self_attn.{name}_proj.{part}", (index,)) for name, index in rows.items()],
        )
        yield f"{ours}self_attn.o_proj.{part}", [Piece(f"{hub}self_attn.o_proj.{part}")]
    if kind == "dense":
        width = config.intermediate_size
        halves = {"gate": slice(0, width), "up": slice(width, 2 * width)}
        yield (
            f"{ours}mlp.gate_up_proj.weight",
            [Piece(f"{hub}mlp.{name}_proj.weight", (index,)) for name, index in halves.items()],
        )
        yield f"{ours}mlp.down_proj.weight", [Piece(f"{hub}mlp.down_proj.weight")]
        return
    yield f"{ours}mlp.gate.weight", [Piece(f"{hub}mlp.gate.weight")]
    width = config.moe_intermediate_size
    halves = {"gate": slice(0, width), "up": slice(width, 2 * width)}
    experts = range(config.num_experts)
    yield (
        f"{ours}mlp.experts.gate_up_proj",
        [
            Piece(f"{hub}mlp.experts.{expert}.{name}_proj.weight", (expert, index))
            for expert in experts
            for name, index in halves.items()
        ],
    )
    yield (
        f"{ours}mlp.experts.down_proj",
        [Piece(f"{hub}mlp.experts.{expert}.down_proj.weight", (expert,)) for expert in experts],
    )
