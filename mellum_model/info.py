"""What a model costs: parameters in all and active for a token, and cache bytes, by part."""

from __future__ import annotations

from dataclasses import dataclass

from .cache import kv_bytes
from .config import FULL, MellumConfig


@dataclass(frozen=True, slots=True)
class Part:
    """Parameters of one part of the model."""

    name: str
    total: int
    active: int
    """Touched for one token."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Sizes of a model."""

    parts: list[Part]
    """The trunk's; the MTP head, where there is one, is the last and in no sum."""
    context: int
    kv_bytes_full: int
    """Of the layers that keep everything, bfloat16, one sequence."""
    kv_bytes_sliding: int

    @property
    def total(self) -> int:
        """Parameters of the trunk."""
        return sum(part.total for part in self.parts if part.name != "mtp head")

    @property
    def active(self) -> int:
        """Of these, touched for one token."""
        return sum(part.active for part in self.parts if part.name != "mtp head")

    @property
    def kv_bytes(self) -> int:
        """Of one sequence at the context length, bfloat16."""
        return self.kv_bytes_full + self.kv_bytes_sliding


def _attention(config: MellumConfig) -> int:
    q, k = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    bias = (q + 2 * k + config.hidden_size) if config.attention_bias else 0
    return config.hidden_size * (2 * q + 2 * k) + 2 * config.head_dim + bias


def model_info(config: MellumConfig, context: int | None = None) -> ModelInfo:
    """Count by formula, without building the model.

    Args:
        config: Which model.
        context: Tokens in the cache; the model's longest unless given.
    """
    context = config.max_position_embeddings if context is None else context
    hidden, vocabulary = config.hidden_size, config.vocab_size * config.hidden_size
    layers, sparse = config.num_hidden_layers, config.mlp_types.count("sparse")
    expert = 3 * hidden * config.moe_intermediate_size
    experts, routed = config.num_experts * expert, config.num_experts_per_tok * expert
    router = config.num_experts * hidden
    attention = _attention(config)
    dense = (layers - sparse) * 3 * hidden * config.intermediate_size
    parts = [
        Part("embedding", vocabulary, vocabulary),
        Part("attention", layers * attention, layers * attention),
        Part("router", sparse * router, sparse * router),
        Part("experts", sparse * experts, sparse * routed),
        Part("norms", (2 * layers + 1) * hidden, (2 * layers + 1) * hidden),
    ]
    if dense:
        parts.append(Part("dense feed forward", dense, dense))
    if not config.tie_word_embeddings:
        parts.append(Part("output matrix", vocabulary, vocabulary))
    if config.num_mtp_layers:
        rest = 2 * hidden * hidden + 5 * hidden + attention + router
        parts.append(Part("mtp head", rest + experts, rest + routed))

    full = config.layer_types.count(FULL) * context * 2 * config.num_key_value_heads * config.head_dim * 2
    return ModelInfo(parts, context, full, kv_bytes(config, context) - full)
