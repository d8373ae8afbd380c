"""Logs of training runs, read as files: `metrics.jsonl`, one JSON object a line; docs/training.md gives the fields."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mellum_eval.errors import UserError
from reports.run import Notice

FILE = "metrics.jsonl"
_MANIFEST = "train.json"


@dataclass(frozen=True, slots=True)
class TrainingLog:
    """One run.

    Attributes:
        label: What tells it from the others.
        path: The log.
        lines: By kind (`step`, `evaluation`, `alarm`, …), in order, each step once.
        manifest: `train.json` beside it; empty where there is none.
    """

    label: str
    path: Path
    lines: dict[str, list[dict[str, Any]]]
    manifest: dict[str, Any] = field(default_factory=dict)

    def series(self, kind: str, name: str) -> list[tuple[int, float]]:
        """Steps and finite values of a field; lines that lack it are left out."""
        return [
            (line["step"], float(value))
            for line in self.lines.get(kind, ())
            if isinstance(value := line.get(name), int | float) and not isinstance(value, bool) and math.isfinite(value)
        ]


def logs_under(path: Path) -> list[Path]:
    """The training logs that a path stands for: a log, a stage's directory, or a directory of stages; else none."""
    if path.is_file():
        return [path] if path.suffix == ".jsonl" else []
    if (path / FILE).is_file():
        return [path / FILE]
    if (path / "run.json").is_file():  # an evaluation, whatever lies below it
        return []
    found = list(path.glob(f"*/{FILE}")) if path.is_dir() else []
    return sorted(found, key=lambda log: (_begun(log), log))


def read_logs(paths: Sequence[Path]) -> tuple[list[TrainingLog], list[Notice]]:
    """Read logs.

    A last line that a kill cut short is left out silently, as a resumed run does; any other line that is no object with
    a step is named.

    Raises:
        UserError: A log cannot be read.
    """
    logs, notices = [], []
    for path, label in zip(paths, _labels(paths), strict=True):
        lines, bad = _lines(path)
        notices += bad
        logs.append(TrainingLog(label, path, lines, _manifest(path)))
        if not lines.get("step"):
            notices.append(Notice(f"{path}: no step was logged", bad=True))
    return logs, notices


def _lines(path: Path) -> tuple[dict[str, list[dict[str, Any]]], list[Notice]]:
    try:
        text = path.read_text("utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    found: dict[str, list[dict[str, Any]]] = {}
    notices = []
    whole, _, torn = text.rpartition("\n")
    for number, line in enumerate([*whole.split("\n"), torn], 1):
        if not line:
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict) or not _is_step(value.get("step")) or not isinstance(value.get("kind"), str):
            if line is not torn:
                notices.append(Notice(f"{path}, line {number}: no line of a training log; left out", bad=True))
            continue
        found.setdefault(value["kind"], []).append(value)
    return found, notices


def _is_step(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _manifest(path: Path) -> dict[str, Any]:
    """What was run: beside the log, or under the log's own name where logs of several stages lie together."""
    for place in (path.with_name(_MANIFEST), path.with_suffix(".json")):
        try:
            value = json.loads(place.read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return {}


def _begun(path: Path) -> str:
    """When the run began, as ISO text: stages are shown in the order in which they were trained."""
    return str(_manifest(path).get("begun", "~"))


def _labels(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    names = [path.parent if path.name == FILE else path.with_suffix("") for path in map(Path.absolute, paths)]
    for depth in range(1, 6):
        labels = ["/".join(name.parts[-depth:]) for name in names]
        if len(set(labels)) == len(labels):
            return labels
    return [str(path) for path in paths]
