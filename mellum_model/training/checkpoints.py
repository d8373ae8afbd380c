"""Checkpoints of a run that goes on: model, optimiser and the place in the data, sharded, written in the background.

`checkpoints/step-00000200/` holds what torch's distributed checkpoint writes and `state.json`. Its `.metadata` is
written last and whole, so a checkpoint with one is complete; one without is a leftover of a kill and is never read.
Read only checkpoints that you wrote: torch's format is not safe against a hostile file. What is published is an export
in safetensors instead.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import warnings
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load as dcp_load
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.distributed.checkpoint.state_dict_saver import save as dcp_save

from ..model import Mellum
from .errors import TrainingStopped
from .optimisers import Optimisers
from .recipes import Checkpointing

STATE = "state.json"
_COMPLETE = ".metadata"
_FAILURES = (Exception, CheckpointException)  # torch's own is a BaseException


def complete(directory: Path) -> list[Path]:
    """Complete checkpoints of a run, oldest first."""
    found = (directory / "checkpoints").glob("step-*")
    return sorted(path for path in found if (path / _COMPLETE).is_file() and (path / STATE).is_file())


class Checkpoints:
    """Writes and reads a run's checkpoints."""

    def __init__(self, directory: Path, settings: Checkpointing, model: Mellum, optimisers: Optimisers) -> None:
        self._directory = directory
        self._settings = settings
        self._model, self._optimisers = model, optimisers
        self._pending: tuple[Path, Future[Any]] | None = None
        # Collectives of the writing thread must not mix with those of training.
        self._group = dist.new_group(backend="gloo") if dist.is_initialized() else None
        logging.getLogger("torch.distributed.checkpoint").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # one process is meant

    @property
    def _leads(self) -> bool:
        return not dist.is_initialized() or dist.get_rank() == 0

    def latest(self) -> Path | None:
        """The newest complete checkpoint."""
        found = complete(self._directory)
        return found[-1] if found else None

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Begin to write a checkpoint; an earlier one that is still being written is waited for.

        Raises:
            TrainingStopped: The disk is full or cannot be written; the message names the last complete checkpoint.
        """
        self.settle()
        path = self._directory / "checkpoints" / f"step-{step:08d}"
        try:
            if self._leads:
                shutil.rmtree(path, ignore_errors=True)  # of a run that was killed here
                path.mkdir(parents=True)
                with (path / STATE).open("w", encoding="utf-8") as file:
                    json.dump({"step": step, **state}, file)
                    file.flush()
                    os.fsync(file.fileno())
            if self._group is not None:
                dist.barrier(group=self._group)
            if self._settings.background:
                writing: Any = async_save(self._tensors(), checkpoint_id=path, process_group=self._group)
                self._pending = (path, writing)
            else:
                dcp_save(self._tensors(), checkpoint_id=path, process_group=self._group)
        except _FAILURES as error:
            raise self._stopped(path, error) from None
        if self._pending is None:
            self._prune()
        return path

    def settle(self) -> None:
        """Wait for a checkpoint that is being written.

        Raises:
            TrainingStopped: It could not be written.
        """
        if self._pending is None:
            return
        path, future = self._pending
        self._pending = None
        try:
            future.result()
        except _FAILURES as error:
            raise self._stopped(path, error) from None
        self._prune()

    def restore(self, path: Path) -> dict[str, Any]:
        """Load a checkpoint into model and optimisers, and return its state.

        Raises:
            TrainingStopped: It is damaged, or of another model.
        """
        try:
            state: dict[str, Any] = json.loads((path / STATE).read_text("utf-8"))
            tensors = self._tensors()
            dcp_load(tensors, checkpoint_id=path, process_group=self._group)
            set_state_dict(
                self._model,
                self._optimisers.all,
                model_state_dict=tensors["model"],
                optim_state_dict=tensors["optimiser"],
            )
        except _FAILURES as error:
            why = _reason(error)
            raise TrainingStopped(
                f"{path}: cannot be resumed from: {why}; remove it to go on from the one before"
            ) from None
        return state

    def _tensors(self) -> dict[str, Any]:
        model, optimiser = get_state_dict(self._model, self._optimisers.all)
        return {"model": model, "optimiser": optimiser}

    def _prune(self) -> None:
        """Remove all but the newest, and what a kill left half-written before them."""
        if not self._leads:
            return
        kept = complete(self._directory)[-self._settings.keep :]
        if not kept:
            return
        for path in (self._directory / "checkpoints").glob("step-*"):
            if path not in kept and path.name < kept[-1].name:
                shutil.rmtree(path, ignore_errors=True)

    def _stopped(self, path: Path, error: BaseException) -> TrainingStopped:
        last = self.latest()
        where = f"the last complete checkpoint is {last}" if last else "there is no earlier checkpoint"
        return TrainingStopped(f"{path}: {_reason(error)}; {where}: mend that and continue with --resume")


def _reason(error: BaseException) -> str:
    """The cause in one line: what the system said, where it said something."""
    seen: BaseException | None = error
    failures = getattr(error, "failures", None)  # torch's CheckpointException: one entry a rank
    if isinstance(failures, dict) and failures:
        seen = next(iter(failures.values()))[0]
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        seen = seen.__cause__ or seen.__context__
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def random_state() -> dict[str, Any]:
    """The state of torch's generator, as JSON."""
    return {"torch": torch.get_rng_state().numpy().tobytes().hex()}


def set_random_state(state: dict[str, Any]) -> None:
    """Undo of `random_state`."""
    torch.set_rng_state(torch.frombuffer(bytearray.fromhex(state["torch"]), dtype=torch.uint8))
