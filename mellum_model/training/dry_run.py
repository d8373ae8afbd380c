"""A stage's arithmetic without a GPU: shapes, memory of a rank, steps, FLOPs. The model is built on meta."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import torch

from ..config import MellumConfig
from ..model import Mellum
from .arithmetic import newton_schulz_flops, token_flops
from .optimisers import rows_of_matrices, updated_by
from .recipes import Recipe, Stage
from .schedule import step_rows, total_steps, total_tokens

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Sums:
    """What `describe` prints, as numbers; bytes and FLOPs."""

    parameters: int
    steps: int
    tokens: int
    flops_per_token: float
    step_flops: float
    """Of a full step's tokens."""
    newton_schulz_flops: float
    """Of one step: all matrices once, whatever the batch."""
    state_bytes: int
    """Of one rank: float32 weights, gradients, momentum, AdamW's moments."""
    working_bytes: int
    """Of one rank: the layer that is gathered, activations of a micro-batch, logits."""

    @property
    def newton_schulz_share(self) -> float:
        """Of a full step's FLOPs."""
        return self.newton_schulz_flops / max(1.0, self.newton_schulz_flops + self.step_flops)

    @property
    def total_flops(self) -> float:
        """Of the whole stage."""
        return self.flops_per_token * self.tokens + self.newton_schulz_flops * self.steps


def matrices(model: Mellum) -> Iterator[tuple[str, int, int, int]]:
    """Every matrix that Newton–Schulz could see: parameter, how many, rows, columns."""
    cuts = rows_of_matrices(model.config)
    for name, parameter in model.named_parameters():
        if parameter.ndim >= 2:
            for rows in cuts.get(name, (parameter.shape[-2],)):
                yield name, prod(parameter.shape[:-2]), rows, parameter.shape[-1]


def stage_config_on_paper(recipe: Recipe, stage: Stage) -> MellumConfig:
    """The stage's configuration if all stages before it ran: contexts extended along the chain of `start_from`."""
    chain = [stage]
    while (before := chain[-1].start_from) is not None and before in recipe.stages:
        chain.append(recipe.stage(before))
    config = recipe.model.config()
    for one in reversed(chain):
        if one.context_factor > 1:
            config = config.extended(one.context_factor)
    return config


def sums(recipe: Recipe, name: str, ranks: int = 1) -> Sums:
    """Count.

    Args:
        recipe: Holds the stage.
        name: Of the stage.
        ranks: Processes that share the model and each step's rows.

    Raises:
        RecipeError: No such stage, or rows cannot be divided over the ranks.
    """
    stage = recipe.stage(name)
    config = stage_config_on_paper(recipe, stage)
    model = Mellum(config, device="meta", dtype=torch.float32)
    steps = total_steps(stage, ranks)
    kinds = {key: updated_by(key, parameter, stage.optimiser) for key, parameter in model.named_parameters()}
    sizes = {key: parameter.numel() for key, parameter in model.named_parameters()}
    schulz = sum(
        count * newton_schulz_flops(rows, columns, stage.optimiser.muon.newton_schulz_steps)
        for key, count, rows, columns in matrices(model)
        if kinds[key] == "muon"
    )
    moments = sum(size * (1 if kinds[key] == "muon" else 2) for key, size in sizes.items())
    flops = token_flops(config, stage.sequence_length)
    return Sums(
        parameters=sum(sizes.values()),
        steps=steps,
        tokens=total_tokens(stage, ranks),
        flops_per_token=flops,
        newton_schulz_flops=schulz,
        state_bytes=4 * (2 * sum(sizes.values()) + moments) // ranks,
        working_bytes=_working_bytes(config, stage, model, ranks),
        step_flops=flops * stage.batch.tokens,
    )


def _working_bytes(config: MellumConfig, stage: Stage, model: Mellum, ranks: int) -> int:
    """An estimate from the shapes: what a backward pass keeps, without the allocator's slack."""
    each = 2 if stage.precision.dtype == "bfloat16" else 4
    tokens = stage.batch.micro * stage.sequence_length
    layers = len(config.attention_layers)
    q, k = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    chosen = config.num_experts_per_tok
    # Norms' inputs, q k v and their normed forms, attention's output; each choice's row in, gate, up, product, row out.
    kept = 4 * config.hidden_size + 3 * q + 4 * k + chosen * (2 * config.hidden_size + 3 * config.moe_intermediate_size)
    if stage.activation_checkpointing:
        activations = each * tokens * (layers * config.hidden_size + kept)
    else:
        activations = each * tokens * layers * kept
    logits = tokens * config.vocab_size * (4 + each) * (2 if config.num_mtp_layers else 1)
    layer = sum(parameter.numel() for parameter in model.layers[0].parameters())
    if stage.parallel.experts:
        layer -= sum(parameter.numel() for name, parameter in model.layers[0].named_parameters() if "experts" in name)
    gathered = 2 * each * layer if ranks > 1 or stage.precision.dtype == "bfloat16" else 0
    return activations + logits + gathered


def describe(recipe: Recipe, name: str, ranks: int = 1) -> str:
    """The arithmetic as text."""
    stage = recipe.stage(name)
    found = sums(recipe, name, ranks)
    config = stage_config_on_paper(recipe, stage)
    model = Mellum(config, device="meta", dtype=torch.float32)
    shapes: Counter[tuple[str, int, int]] = Counter()
    kinds = {key: updated_by(key, parameter, stage.optimiser) for key, parameter in model.named_parameters()}
    for key, count, rows, columns in matrices(model):
        shapes[kinds[key], rows, columns] += count
    rest = sum(parameter.numel() for parameter in model.parameters() if parameter.ndim < 2)
    first = step_rows(stage, 0, ranks) * stage.sequence_length
    per_row = stage.sequence_length
    lines = [
        f"{recipe.name} {name}: {found.parameters:,} parameters ({config.num_mtp_layers} MTP layer), "
        f"context {config.max_position_embeddings:,}",
        "",
        "matrices",
        *(
            f"  {kind:<12}{count:>7,} × {rows:,} × {columns:,}"
            for (kind, rows, columns), count in sorted(shapes.items())
        ),
        f"  {'adamw plain':<12}{rest:>7,} numbers in norms and biases",
        "",
        "steps",
        f"  {'steps':<30}{found.steps:>22,}",
        f"  {'tokens, first step':<30}{first:>22,}   {first // per_row:,} rows of {per_row:,}",
        f"  {'tokens, full step':<30}{stage.batch.tokens:>22,}   {stage.batch.tokens // per_row:,} rows",
        f"  {'tokens in all':<30}{found.tokens:>22,}",
        f"  {'micro-batches a rank':<30}{-(-stage.batch.tokens // per_row // ranks // stage.batch.micro):>22,}",
        f"  {'learning rate':<30}{stage.schedule.peak:>22g}   {stage.schedule.kind}, warm-up "
        f"{stage.schedule.warmup_steps:,}, decay {stage.schedule.decay_steps or 0:,}, to {stage.schedule.final:g}",
        "",
        "arithmetic",
        f"  {'FLOPs a token':<30}{found.flops_per_token:>22.4g}",
        f"  {'FLOPs a full step':<30}{found.step_flops:>22.4g}",
        f"  {'Newton–Schulz a step':<30}{found.newton_schulz_flops:>22.4g}   "
        f"{found.newton_schulz_share:.2%} of a full step",
        f"  {'FLOPs in all':<30}{found.total_flops:>22.4g}",
        "",
        f"memory of each of {ranks} ranks",
        f"  {'weights, gradients, optimiser':<30}{found.state_bytes / GIB:>18.2f} GiB   float32, sharded",
        f"  {'activations, logits, a layer':<30}{found.working_bytes / GIB:>18.2f} GiB   an estimate from shapes, "
        f"{stage.batch.micro} rows at a time",
    ]
    return "\n".join(lines)
