"""From a recipe's stage to a model ready to train: sizes, precision, sharding, weights.

Everything is applied from outside; the model's own files know nothing of training. Weights are drawn a parameter at a
time, each from its own seed, so that they do not depend on how the model is sharded.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from ..checkpoint import load_into
from ..config import MellumConfig
from ..layer import DecoderLayer
from ..model import Mellum
from ..moe import SparseMlp
from ..parallel import parallelize
from .ranks import Ranks
from .recipes import Parallel, Precision, Recipe, Stage


def stage_config(recipe: Recipe, stage: Stage, start: Path | None) -> MellumConfig:
    """The configuration that a stage trains: the recipe's or the checkpoint's, its context extended where asked.

    Whether there is an MTP head is the checkpoint's to say: one that it lacks would start from noise in mid-training.
    """
    config = recipe.model.config() if start is None else MellumConfig.load(start)
    return config if stage.context_factor == 1 else config.extended(stage.context_factor)


class Built(Protocol):
    """What of a stage says how its model is built."""

    @property
    def precision(self) -> Precision: ...  # noqa: D102
    @property
    def parallel(self) -> Parallel: ...  # noqa: D102
    @property
    def activation_checkpointing(self) -> bool: ...  # noqa: D102
    @property
    def compile(self) -> bool: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102


def build(config: MellumConfig, stage: Built, ranks: Ranks, *, start: Path | None = None) -> Mellum:
    """A model with weights, sharded and wrapped as the stage asks.

    Args:
        config: Its sizes.
        stage: Precision, sharding, seed.
        ranks: Where it lives.
        start: Checkpoint directory; None draws random weights.

    Raises:
        CheckpointError: The checkpoint does not fit.
        ConfigError: The model cannot be divided over the ranks.
    """
    model = Mellum(config, device="meta", dtype=torch.float32)
    if stage.precision.fp8 != "off":
        from .fp8 import apply_fp8

        apply_fp8(model, emulate=stage.precision.fp8 == "emulated")
    layers = [*model.layers, *(model.mtp.layers if model.mtp is not None else [])]
    if stage.activation_checkpointing:
        for layer in layers:
            _recompute(layer)
    if ranks.mesh is not None:
        _shard(model, layers, stage, ranks)
    model.to_empty(device=ranks.device)
    if start is None:
        draw_weights(model, stage.seed)
    else:
        load_into(model, start)
    if stage.compile:
        for layer in layers:
            layer.compile()  # a layer at a time: short compilation, and each is of the same shapes
    return model.train()


def needs_mesh(stage: Built) -> bool:
    """Whether a stage needs FSDP even on one process: it holds float32 master weights beside bfloat16 products."""
    return stage.precision.dtype == "bfloat16"


def _shard(model: Mellum, layers: list[Any], stage: Built, ranks: Ranks) -> None:
    assert ranks.mesh is not None
    half = stage.precision.dtype == "bfloat16"
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if half else None, reduce_dtype=torch.float32, cast_forward_inputs=half
    )
    if half:
        # The router's weights would be rounded on their way to its float32 product otherwise.
        exact = MixedPrecisionPolicy(param_dtype=torch.float32, reduce_dtype=torch.float32, cast_forward_inputs=False)
        for layer in layers:
            if isinstance(layer.mlp, SparseMlp):
                fully_shard(layer.mlp.gate, mesh=ranks.mesh, mp_policy=exact)
    parallelize(model, ranks.mesh, expert_parallel=stage.parallel.experts and ranks.count > 1, policy=policy)


@torch.no_grad()
def draw_weights(model: Mellum, seed: int) -> None:
    """Normal with the config's spread for matrices, ones for norms, zeros for biases; the same for any sharding."""
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
            continue
        mark = int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8], "big") >> 1
        drawn = torch.empty(parameter.shape, dtype=torch.float32)
        drawn.normal_(0.0, model.config.initializer_range, generator=torch.Generator().manual_seed(mark))
        if isinstance(parameter, DTensor):
            mesh, placements = parameter.device_mesh, parameter.placements
            whole = drawn.to(parameter.device)
            parameter.to_local().copy_(distribute_tensor(whole, mesh, placements, src_data_rank=None).to_local())
        else:
            parameter.copy_(drawn)


def _recompute(layer: DecoderLayer) -> None:
    """Keep a layer's input and its router's choice, compute the rest again in the backward pass.

    The choice is kept, not computed again: were two scores to tie differently, tokens would go to other experts than
    those whose activations the gradient is of.
    """
    inner = layer.forward

    def kept(ctx: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
        chosen = op in (torch.ops.aten.topk.default, torch.ops.aten.sort.stable, torch.ops.aten.argsort.stable)
        return CheckpointPolicy.MUST_SAVE if chosen else CheckpointPolicy.PREFER_RECOMPUTE

    def forward(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return inner(*args, **kwargs)
        return checkpoint(
            inner,
            *args,
            use_reentrant=False,
            preserve_rng_state=False,
            context_fn=lambda: create_selective_checkpoint_contexts(kept),  # type: ignore[no-untyped-call]
            **kwargs,
        )

    layer.forward = forward  # type: ignore[method-assign]
