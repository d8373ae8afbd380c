"""An RLVR run from its start to an exported model: what the command line runs.

`OUT/` holds `train.json` (what was run), `metrics.jsonl`, `rollouts.jsonl` (some of them, to read), `checkpoints/`, and
in the end `model/`, a checkpoint in the hub's layout with its tokenizer.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ...chat import END_OF_TURN, render, render_template
from ...config import MellumConfig
from ...model import Mellum
from ...nano import checkpoint as bundled
from ...tokenizer import Tokenizer
from ...training.errors import RecipeError, TrainingStopped
from ...training.prepare import build, needs_mesh
from ...training.ranks import Ranks, ranks
from ...training.stages import MANIFEST, MODEL, check_unused, export, make_writable
from .environment import Environment, Message, Opener
from .gather import Encode
from .loop import Outcome, Parts, RlvrWatcher, train_rlvr
from .recipe import RlvrRecipe
from .rollouts import NativeSampler, Sampler

NANO = "nano:"
SERVED = "served"
"""Weights on their way to vLLM servers, within a run's directory."""


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """What a call of `run_rlvr` came to."""

    outcome: Outcome
    steps: int
    directory: Path
    model: Path | None
    """The exported model; None where the run was stopped before its end."""


def run_rlvr(
    recipe: RlvrRecipe,
    out: Path,
    *,
    openers: Mapping[str, Opener],
    root: Path = Path(),
    start: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    watcher: RlvrWatcher | None = None,
    tensorboard: bool = False,
    stop_after: Callable[[int], bool] = lambda step: False,
    command: str = "",
) -> FinishedRun:
    """Run or go on with a recipe.

    Args:
        recipe: What to run.
        out: Directory of the run.
        openers: Environments by kind.
        root: What relative paths of the recipe are relative to.
        start: Checkpoint directory, instead of the recipe's `start_from`.
        resume: Go on from the newest checkpoint.
        device: `auto`, `cpu` or `cuda`.
        watcher: Told of every step.
        tensorboard: Write event files too.
        stop_after: Whether to stop, checkpointed, after that many steps are done.
        command: For the manifest.

    Raises:
        RecipeError: The recipe asks for what is not there.
        TrainingStopped: Training could not go on; the last checkpoint is intact.
        ModelError: The checkpoint or its tokenizer is bad.
    """
    start = start if start is not None else start_of(recipe, root)
    if not resume:
        check_unused(out)
    environments = open_environments(recipe, openers)
    with ranks(device, sharded=needs_mesh(recipe)) as place:
        for name, value in (("prompts", recipe.batch.prompts), ("prompts drawn", recipe.drawn_prompts)):
            if value % place.count:
                raise RecipeError(f"batch.{name}: {value} cannot be divided over {place.count} ranks")
        config = MellumConfig.load(start)
        tokenizer = Tokenizer.load(start)
        make_writable(out)
        model = build(config, recipe, place, start=start)
        reference = build(config, recipe, place, start=start).requires_grad_(False) if recipe.algorithm.kl else None
        if place.leads:
            _write_manifest(out, recipe, model, start, command)
        sampler = open_sampler(recipe, config, tokenizer, place, out)
        parts = Parts(
            model, reference, sampler, environments, encoder(tokenizer, recipe), decoder(tokenizer, config)
        )  # fmt: skip
        outcome = train_rlvr(
            parts, recipe, out, ranks=place, resume=resume, watcher=watcher, tensorboard=tensorboard,
            stop_after=stop_after,
        )  # fmt: skip
        if outcome.step < recipe.steps:
            return FinishedRun(outcome, recipe.steps, out, None)
        export(model, out / MODEL, tokenizer, recipe.export_dtype, leads=place.leads)
        return FinishedRun(outcome, recipe.steps, out, out / MODEL)


def start_of(recipe: RlvrRecipe, root: Path) -> Path:
    """The checkpoint that a recipe starts from.

    Raises:
        RecipeError: It is not there.
    """
    if recipe.start_from.startswith(NANO):
        try:
            return bundled(recipe.start_from.removeprefix(NANO))
        except ValueError as error:
            raise RecipeError(f"start_from: {error}") from None
    path = root / recipe.start_from
    if not (path / "config.json").is_file():
        raise RecipeError(f"start_from: no model at {path}; give a checkpoint directory with --from")
    return path


def open_environments(recipe: RlvrRecipe, openers: Mapping[str, Opener]) -> dict[str, Environment]:
    """The recipe's environments, made.

    Raises:
        RecipeError: A kind or an option is unknown; names the field.
    """
    found = {}
    for name, section in recipe.environments.items():
        if section.kind not in openers:
            raise RecipeError(
                f"environments.{name}.kind: {section.kind!r} is not known; there are {', '.join(sorted(openers))}"
            )
        try:
            found[name] = openers[section.kind](section.options)
        except ValueError as error:
            raise RecipeError(f"environments.{name}.options: {error}") from None
    return found


def open_sampler(recipe: RlvrRecipe, config: MellumConfig, tokenizer: Tokenizer, place: Ranks, out: Path) -> Sampler:
    """Who draws this rank's answers.

    Raises:
        RecipeError: There is no server for it.
    """
    dtype = torch.bfloat16 if recipe.precision.dtype == "bfloat16" else torch.float32
    settings = recipe.rollouts
    if settings.sampler == "native":
        return NativeSampler(config, settings, device=place.device, dtype=dtype)
    from .vllm_sampler import VllmSampler, restart_by

    if len(settings.servers) != place.count:
        raise RecipeError(
            f"rollouts.servers: {len(settings.servers)} for {place.count} ranks; each draws from a server of its own"
        )
    server = settings.servers[place.rank]
    directory = (Path(settings.weights) if settings.weights else out / SERVED) / str(place.rank)
    push = restart_by((*settings.restart, server), server) if settings.restart else None
    return VllmSampler(config, settings, tokenizer, directory, server=server, dtype=dtype, push=push)


def encoder(tokenizer: Tokenizer, recipe: RlvrRecipe) -> Encode:
    """Conversations as ids, by the checkpoint's own template where it has one, exactly as it is evaluated."""
    options = recipe.rollouts.chat_template_kwargs

    def encode(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> list[int]:
        if tokenizer.chat_template is not None:
            return tokenizer.encode(render_template(tokenizer.chat_template, messages, tools, **options))
        return tokenizer.encode(render(messages, tools, enable_thinking=bool(options.get("enable_thinking", True))))

    return encode


def decoder(tokenizer: Tokenizer, config: MellumConfig) -> Callable[[Sequence[int]], str]:
    """Ids as text, without the token that ended them."""
    ends = {*config.eos_token_ids, tokenizer.id_of(END_OF_TURN)}

    def decode(tokens: Sequence[int]) -> str:
        return tokenizer.decode(tokens[:-1] if tokens and tokens[-1] in ends else tokens)

    return decode


def _write_manifest(directory: Path, recipe: RlvrRecipe, model: Mellum, start: Path, command: str) -> None:
    """What is run, so that it can be run again."""
    manifest = {
        "command": command,
        "recipe": recipe.model_dump(mode="json"),
        "stage": "rlvr",
        "start": str(start),
        "config": model.config.to_hub(),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": recipe.steps,
        "ranks": dist.get_world_size() if dist.is_initialized() else 1,
        "threads": torch.get_num_threads(),
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "host": {"machine": platform.machine(), "cpus": os.cpu_count()},
    }
    try:
        (directory / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    except OSError as error:
        raise TrainingStopped(f"{directory / MANIFEST}: {error.strerror}") from None
