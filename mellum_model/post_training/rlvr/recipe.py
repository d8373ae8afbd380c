"""What an RLVR run is: one YAML file, checked field by field. Defaults are Mellum 2's where its report gives them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from ...training.data_sections import Count, Section
from ...training.errors import RecipeError
from ...training.recipes import (
    Adam,
    Checkpointing,
    OptimiserSection,
    Parallel,
    Precision,
    Schedule,
    first_problem,
    overridden,
    read_yaml,
    recipe_file,
)
from .algorithm import Algorithm

BUILT_IN = Path(__file__).resolve().parents[2] / "recipes" / "rlvr"


class EnvironmentSection(Section):
    """One domain of the mixture."""

    kind: str
    """Of those that the command line hands in."""
    share: Annotated[float, Field(ge=0)]
    """Of the prompts, relative to the other domains'. 0: validated, not trained on."""
    options: dict[str, Any] = Field(default_factory=dict)


class BatchSection(Section):
    """How large a step is."""

    prompts: Count
    """That are trained on in a step at most; more are drawn (`algorithm.oversample`)."""
    group: Annotated[int, Field(ge=2)] = 16
    """Rollouts a prompt."""
    updates: Count = 1
    """Optimiser steps that the rollouts of a step are divided into."""
    micro_tokens: Count = 16_384
    """Of one forward pass on one rank, padding included; a longer sequence is alone in its pass."""


class Rollouts(Section):
    """How answers are drawn."""

    sampler: Literal["native", "vllm"] = "native"
    """This package's engine beside the trainer, or running vLLM servers."""
    servers: tuple[str, ...] = ()
    """Of vLLM, one a rank, such as `http://127.0.0.1:8000`; started with `VLLM_SERVER_DEV_MODE=1`."""
    weights: str = ""
    """Directory by which they are handed weights, seen by both at the same path; `served` in the run's own if empty."""
    restart: tuple[str, ...] = ()
    """A command that restarts a server with the checkpoint whose directory is its last argument and whose address the
    one before; for vLLM builds that cannot take weights in place, such as those for CPUs."""
    max_tokens: Count
    """Of one turn, reasoning included: the cap."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Not stated in the report. The loss is of the distribution that is drawn from, so of the tempered one."""
    max_batch: Count = 64
    """Rows decoded together."""
    staleness: Annotated[int, Field(ge=0, le=8)] = 1
    """Steps that the weights which draw a batch may be behind those that it trains; 0: drawing waits for training."""
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    """For the template, such as {enable_thinking: false}."""


class Validation(Section):
    """Held-out tasks on the way."""

    every_steps: Count = 50
    tasks: Count = 3_600
    """Of all domains together, equally many of each."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """0 is greedy."""
    fall_alarm: Annotated[float, Field(gt=0, le=1)] = 0.05
    """A pass@1 so far below the first calls for a person."""


class RouterLosses(Section):
    """Of the mixture of experts beside the policy loss; the report states none for this stage."""

    balance: Annotated[float, Field(ge=0)] = 0.0
    z: Annotated[float, Field(ge=0)] = 0.0


class RlvrRecipe(Section):
    """A model, what it is asked, and how it learns from it."""

    name: str
    start_from: str
    """A checkpoint directory relative to the recipe, or `nano:VARIANT` of the bundled ones."""
    form: Literal["instruct", "thinking"] = "instruct"
    """Whether the model reasons before it answers."""
    environments: Annotated[dict[str, EnvironmentSection], Field(min_length=1)]
    steps: Count
    batch: BatchSection
    rollouts: Rollouts
    algorithm: Algorithm = Algorithm()
    optimiser: OptimiserSection = OptimiserSection(
        kind="adamw", adam=Adam(betas=(0.9, 0.999)), weight_decay=0.01, clip=1.0
    )
    schedule: Schedule
    losses: RouterLosses = RouterLosses()
    freeze_router: bool = False
    """Keep the router's weights as they are: what a token is routed to then moves with the trunk alone."""
    precision: Precision = Precision()
    parallel: Parallel = Parallel()
    activation_checkpointing: bool = False
    compile: bool = False
    checkpoints: Checkpointing = Checkpointing(every_steps=10)
    validation: Validation = Validation()
    samples_every_steps: Count = 10
    """Rollouts are written out for people to read."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    export_dtype: Literal["float32", "bfloat16"] = "bfloat16"

    @model_validator(mode="after")
    def _fits(self) -> RlvrRecipe:
        if not any(one.share for one in self.environments.values()):
            raise ValueError("environments: every share is 0")
        if (self.rollouts.sampler == "vllm") != bool(self.rollouts.servers):
            raise ValueError("rollouts.servers: given where rollouts.sampler is vllm, and only there")
        if self.algorithm.overlong.buffer > self.rollouts.max_tokens:
            raise ValueError(
                f"algorithm.overlong.buffer {self.algorithm.overlong.buffer} is above rollouts.max_tokens "
                f"{self.rollouts.max_tokens}"
            )
        return self

    @property
    def drawn_prompts(self) -> int:
        """Prompts drawn a step."""
        return max(self.batch.prompts, round(self.batch.prompts * self.algorithm.oversample))


def load_rlvr_recipe(which: str | Path, overrides: Mapping[str, Any] | None = None) -> RlvrRecipe:
    """Read a built-in recipe by name, or a file.

    Args:
        which: Such as `nano_instruct`, or a YAML file.
        overrides: Dotted fields and values, such as {"batch.group": 8}.

    Raises:
        RecipeError: No such recipe, not YAML, or a field is unknown or wrong; the message names it.
    """
    file = recipe_file(which, BUILT_IN)
    data = read_yaml(file)
    for field, value in (overrides or {}).items():
        overridden(data, field, value)
    try:
        return RlvrRecipe.model_validate(data)
    except ValidationError as error:
        raise RecipeError(f"{file}: {first_problem(error, RlvrRecipe)}") from None
