"""A stage of a recipe from its start to an exported model: what the command line runs.

`OUT/STAGE/` holds `train.json` (what was run), `metrics.jsonl`, `checkpoints/`, the data's audit, and in the end
`model/`, a checkpoint in the hub's layout with its tokenizer, from which the next stage starts. `OUT/tokenizer/` holds
the tokenizer that the recipe's own data taught, where it names none.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError

from ..chat import own_template
from ..checkpoint import dtype_of, save
from ..config import MellumConfig
from ..model import Mellum
from ..tokenizer import Tokenizer
from .batch import Batch, OpenedData
from .checkpoints import complete
from .data import Generator, OpenStream, SuiteIndex, open_stream
from .data_sections import SftData
from .errors import RecipeError, TrainingStopped
from .loop import Progress, Watcher, train
from .prepare import build, needs_mesh, stage_config
from .ranks import Ranks, ranks
from .recipes import Recipe, Stage
from .schedule import total_steps, total_tokens

MODEL = "model"
MANIFEST = "train.json"


@dataclass(frozen=True, slots=True)
class Supplies:
    """What training needs of other rooms; the command line hands it in."""

    generators: Mapping[str, Generator] = field(default_factory=dict)
    index: Callable[[], SuiteIndex] | None = None
    root: Path = Path()
    """What relative paths of the recipe are relative to: its own directory."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What a call of `run_stage` came to."""

    progress: Progress
    steps: int
    directory: Path
    model: Path | None
    """The exported model; None where the stage was stopped before its end."""


def run_stage(
    recipe: Recipe,
    name: str,
    out: Path,
    *,
    supplies: Supplies,
    start: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    watcher: Watcher | None = None,
    tensorboard: bool = False,
    stop_after: Callable[[int], bool] = lambda step: False,
    command: str = "",
) -> Finished:
    """Run or go on with a stage.

    Args:
        recipe: Holds the stage.
        name: Of the stage.
        out: Directory of the recipe's stages.
        supplies: Generators and the suites' index.
        start: Checkpoint directory, instead of the recipe's `start_from`.
        resume: Go on from the newest checkpoint.
        device: `auto`, `cpu` or `cuda`.
        watcher: Told of every step.
        tensorboard: Write event files too.
        stop_after: Whether to stop, checkpointed, after that many steps are done.
        command: For the manifest.

    Raises:
        RecipeError: The recipe has no such stage, or what it starts from is not there.
        TrainingStopped: Training could not go on; the last checkpoint is intact.
        ModelError: Data or a checkpoint is bad.
    """
    stage, directory = recipe.stage(name), out / name
    start = start if start is not None else _start(recipe, stage, out, supplies.root)
    if not resume:
        check_unused(directory)
    with ranks(device, sharded=needs_mesh(stage)) as place:
        steps = total_steps(stage, place.count)
        config = stage_config(recipe, stage, start)
        make_writable(directory)
        tokenizer = _tokenizer(recipe, config, start, out, supplies, place)
        if tokenizer.vocab_size > config.vocab_size:
            raise RecipeError(
                f"the tokenizer has {tokenizer.vocab_size} entries, model.sizes.vocab_size is {config.vocab_size}"
            )
        if stage.sequence_length > config.max_position_embeddings:
            raise RecipeError(
                f"sequence_length {stage.sequence_length} is above the context of {config.max_position_embeddings}"
            )
        opened = _open(stage, tokenizer, supplies, place, total_tokens(stage, place.count))
        model = build(config, stage, place, start=start)
        if place.leads:
            _write_manifest(directory, recipe, name, model, steps, start, command)
        data = OpenedData(opened.stream, _held_out(stage, tokenizer, supplies, place))
        progress = train(
            model, stage, data, directory, ranks=place, resume=resume, watcher=watcher, tensorboard=tensorboard,
            stop_after=stop_after,
        )  # fmt: skip
        if place.leads:
            opened.write_audit(directory)
        if progress.step < steps and not opened.stream.exhausted:
            return Finished(progress, steps, directory, None)
        if isinstance(stage.data, SftData):  # what it has learnt to read, for those who load it elsewhere
            tokenizer.chat_template = tokenizer.chat_template or own_template()
        export(model, directory / MODEL, tokenizer, stage.export_dtype, leads=place.leads)
        return Finished(progress, steps, directory, directory / MODEL)


def check_unused(directory: Path) -> None:
    """Refuse a directory that holds a run.

    Raises:
        RecipeError: It does.
    """
    if complete(directory) or (directory / MODEL).exists():
        raise RecipeError(f"{directory}: holds a run already; --resume goes on with it, or choose another --out")


def export(model: Mellum, target: Path, tokenizer: Tokenizer, dtype: str, *, leads: bool = True) -> None:
    """Write a model in the hub's layout with its tokenizer, whole or not at all.

    Args:
        model: Sharded parameters are gathered; then every rank must call.
        target: Directory.
        tokenizer: Goes along.
        dtype: Of the stored weights.
        leads: Whether this rank writes.

    Raises:
        TrainingStopped: It cannot be written.
    """
    scratch = target.with_name(f".{target.name}.partial")
    try:
        if leads:
            shutil.rmtree(scratch, ignore_errors=True)
        save(model, scratch, dtype=dtype_of(dtype))
        if leads:
            tokenizer.save(scratch)
            shutil.rmtree(target, ignore_errors=True)
            os.replace(scratch, target)
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise TrainingStopped(
            f"{target}: {why}; all steps are done and checkpointed: mend that and export with --resume"
        ) from None


def _start(recipe: Recipe, stage: Stage, out: Path, root: Path) -> Path | None:
    """The checkpoint that a stage starts from."""
    if stage.start_from is None:
        return None
    before = stage.start_from in recipe.stages
    path = out / stage.start_from / MODEL if before else root / stage.start_from
    if not (path / "config.json").is_file():
        mend = f"run that stage first, with --out {out}" if before else "give a checkpoint directory with --from"
        raise RecipeError(f"start_from: {stage.start_from}: no model at {path}; {mend}")
    return path


def make_writable(directory: Path) -> None:
    """Make a run's directory.

    Raises:
        TrainingStopped: It cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingStopped(f"{directory}: {error.strerror}") from None


def _tokenizer(
    recipe: Recipe, config: MellumConfig, start: Path | None, out: Path, supplies: Supplies, place: Ranks
) -> Tokenizer:
    """The one of the checkpoint, else the recipe's, else one learnt from the recipe's own data, once."""
    if start is not None:
        return Tokenizer.load(start)
    if recipe.tokenizer is not None:
        return Tokenizer.load(supplies.root / recipe.tokenizer)
    folder = out / "tokenizer"
    if place.leads and not (folder / "tokenizer.json").is_file():
        from .data.vocabulary import learn_tokenizer

        folder.mkdir(parents=True, exist_ok=True)
        learn_tokenizer(recipe, config.vocab_size, generators=supplies.generators, root=supplies.root).save(folder)
    if dist.is_initialized():
        dist.barrier()
    return Tokenizer.load(folder)


def _open(stage: Stage, tokenizer: Tokenizer, supplies: Supplies, place: Ranks, tokens: int) -> OpenStream:
    return open_stream(
        stage, tokenizer, total_tokens=tokens, root=supplies.root, generators=supplies.generators, index=supplies.index,
        rank=place.rank, ranks=place.count,
    )  # fmt: skip


def _held_out(stage: Stage, tokenizer: Tokenizer, supplies: Supplies, place: Ranks) -> list[Batch]:
    """The same rows on every rank."""
    if stage.evaluation.data is None:
        return []
    asked = stage.model_copy(update={"data": stage.evaluation.data})
    rows = max(1, stage.evaluation.tokens // stage.sequence_length)
    opened = _open(asked, tokenizer, supplies, Ranks(device=place.device), rows * stage.sequence_length)
    return list(opened.stream.next_batch(rows * stage.sequence_length).micro(stage.batch.micro))


def _write_manifest(
    directory: Path, recipe: Recipe, name: str, model: Mellum, steps: int, start: Path | None, command: str
) -> None:
    """What is run, so that it can be run again."""
    manifest: dict[str, Any] = {
        "command": command,
        "recipe": recipe.model_dump(mode="json"),
        "stage": name,
        "start": None if start is None else str(start),
        "config": model.config.to_hub(),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": steps,
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
