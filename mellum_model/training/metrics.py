"""The log of a training run: one JSON object a line, which reports read; optionally TensorBoard beside it.

`metrics.jsonl` holds lines of these kinds, told apart by `kind`:

- `step`: a step is done. `step` (from 1), `tokens` (so far, padding included), `loss` (next token, nats), `mtp`,
  `mtp_agreement`, `balance`, `z` (unweighted; absent where not trained), `lr`, `grad_norm` (before clipping), `rows`,
  `seconds`, `tokens_per_s`, `mfu` (null where the peak is unknown), `load_max` and `load_min` (the busiest and the
  idlest expert of all layers, in even shares), `sources` (tokens of each source in this step, of this rank).
- `evaluation`: `step`, `loss`, `mtp`, `mtp_agreement`, `labels` on held-out rows.
- `alarm`: `step`, `alarm` (`loss_spike` or `dead_expert`), `message`.
- `checkpoint`: `step`, `path`.

After a resume the lines of steps that are done again are gone: every step is there once.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import TrainingStopped
from .recipes import Alarms

FILE = "metrics.jsonl"


class MetricsLog:
    """Appends to `metrics.jsonl`; a rank that does not lead writes nothing."""

    def __init__(self, directory: Path, *, after_step: int, tensorboard: bool = False, writes: bool = True) -> None:
        """Open the log.

        Args:
            directory: Of the stage.
            after_step: Lines of later steps are dropped: they will be done again.
            tensorboard: Also write event files into `directory/tensorboard`.
            writes: Whether this rank leads.

        Raises:
            TrainingStopped: The directory cannot be written, or tensorboard is not installed.
        """
        self._path = directory / FILE
        self._board: Any = None
        self._file: Any = None
        if not writes:
            return
        try:
            kept = [line for line in logged(directory) if line["step"] <= after_step]
            scratch = self._path.with_suffix(".partial")
            scratch.write_text("".join(json.dumps(line) + "\n" for line in kept), "utf-8")
            os.replace(scratch, self._path)
            self._file = self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise TrainingStopped(f"{self._path}: {error.strerror}") from None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(directory / "tensorboard"), purge_step=after_step + 1)

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Add a line.

        Raises:
            TrainingStopped: The disk is full.
        """
        if self._file is None:
            return
        try:
            self._file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
            self._file.flush()
        except OSError as error:
            raise TrainingStopped(f"{self._path}: {error.strerror} at step {step}") from None
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Close the files."""
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()


def logged(directory: Path) -> list[dict[str, Any]]:
    """The whole lines of a run's log; a kill may have cut the last."""
    path, found = directory / FILE, []
    if path.is_file():
        for line in path.read_text("utf-8").split("\n"):
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict) and isinstance(value.get("step"), int):
                found.append(value)
    return found


class Watch:
    """Raises alarms: a loss far above its recent values, an expert that hardly any token reaches."""

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self._losses: deque[float] = deque(maxlen=alarms.window)
        self._load: Tensor | None = None
        self._steps = 0

    def loss(self, value: float) -> str | None:
        """An alarm's message if this step's loss is a spike."""
        history = torch.tensor(list(self._losses), dtype=torch.float64)
        self._losses.append(value)
        if len(history) < max(8, self._alarms.window // 4):
            return None
        mean, spread = float(history.mean()), float(history.std())
        limit = mean + self._alarms.spike_sigma * max(spread, 1e-3 * abs(mean))
        if value <= limit:
            return None
        sigmas = (value - mean) / max(spread, 1e-12)
        return f"loss {value:.4f} is {sigmas:.1f} standard deviations above the last {len(history)} steps' {mean:.4f}"

    def load(self, counts: Tensor) -> str | None:
        """An alarm's message if experts were dead over the window that ends with this step.

        Args:
            counts: Choices of each expert of each layer, [layers, experts].
        """
        self._load = counts.clone() if self._load is None else self._load + counts
        self._steps += 1
        if self._steps < self._alarms.window:
            return None
        share = self._load / self._load.mean(1, keepdim=True).clamp(min=1e-9)
        self._load, self._steps = None, 0
        dead = (share < self._alarms.dead_share).nonzero().tolist()
        if not dead:
            return None
        named = ", ".join(f"{expert} of layer {layer}" for layer, expert in dead[:4])
        more = f" and {len(dead) - 4} more" if len(dead) > 4 else ""
        share_text = f"under {self._alarms.dead_share:.0%} of their even share over {self._alarms.window} steps"
        return f"experts {named}{more} got {share_text}"
