"""Small models, and the same models in `transformers`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mellum_model import Mellum, MellumConfig, RopeConfig
from mellum_model.config import FULL, SLIDING

TINY = MellumConfig(
    vocab_size=97,
    hidden_size=32,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    intermediate_size=48,
    num_experts=8,
    num_experts_per_tok=2,
    moe_intermediate_size=24,
    layer_types=(SLIDING, SLIDING, SLIDING, FULL),
    sliding_window=8,
    max_position_embeddings=32,
    full_rope=RopeConfig(),
    initializer_range=0.2,
).extended(16.0)

CONFIGS = {
    "mixed_yarn": TINY,
    "mixed_plain": replace(TINY, full_rope=RopeConfig()),
    "all_sliding": replace(TINY, layer_types=(SLIDING,) * 4),
    "all_full": replace(TINY, layer_types=(FULL,) * 4),
    "tied": replace(TINY, tie_word_embeddings=True),
    "odd": replace(
        TINY,
        vocab_size=101,
        hidden_size=40,
        num_attention_heads=6,
        num_key_value_heads=3,
        head_dim=10,
        num_experts=5,
        num_experts_per_tok=3,
        moe_intermediate_size=7,
        sliding_window=5,
    ),
    "bias_dense_unnormalised": replace(
        TINY, attention_bias=True, mlp_layer_types=("sparse", "dense", "sparse", "sparse"), norm_topk_prob=False
    ),
    "mtp": replace(TINY, num_mtp_layers=1),
    "mtp_full": replace(TINY, num_mtp_layers=1, mtp_layer_type=FULL),
}


def build(config: MellumConfig, seed: int = 0) -> Mellum:
    """A model with random weights, norms and biases included, so that none is neutral."""
    torch.manual_seed(seed)
    model = Mellum(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def in_transformers(model: Mellum, directory: Path) -> Any:
    """The same weights in `transformers`, by way of a saved checkpoint."""
    from transformers import MellumForCausalLM

    model.save_pretrained(directory)
    loaded = MellumForCausalLM.from_pretrained(directory, dtype=torch.float32, experts_implementation="eager")
    return loaded.eval()


def tokens(config: MellumConfig, *shape: int, seed: int = 1) -> torch.Tensor:
    """Random token ids."""
    return torch.randint(0, config.vocab_size, shape, generator=torch.Generator().manual_seed(seed))
