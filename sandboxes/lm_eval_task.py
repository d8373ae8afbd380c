"""Tasks of lm-evaluation-harness that this process has opened, each behind a process of its own.

A check of kind `lm_eval` names a task and a document; only a task that a suite has opened here can judge it, so a check
from elsewhere opens nothing.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from sandboxes.line_process import LineProcess, Overran, Refused

WORKER = Path(__file__).with_name("lm_eval_worker.py")
TaskRefused = Refused


class LmEvalTask(LineProcess):
    """One task."""

    def __init__(self, name: str, *, offline: bool) -> None:
        """Start the process and load the task.

        Args:
            name: Of a task that comes with the package, or the path of a YAML file.
            offline: Whether nothing may be downloaded.

        Raises:
            TaskRefused: Package, task or data are not there, or it is of a kind that cannot be run here.
        """
        if importlib.util.find_spec("lm_eval") is None:
            raise TaskRefused("lm-eval is not installed", "package")
        environment = {**os.environ, "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}
        if offline:
            environment["HF_HUB_OFFLINE"] = "1"
        super().__init__(WORKER, environment, {"do": "open", "task": name})
        self.start()

    @property
    def facts(self) -> dict[str, Any]:
        """What the worker's `facts` says of the task."""
        return dict(self.opened)


_opened: dict[str, LmEvalTask] = {}


def open_task(name: str, *, offline: bool) -> LmEvalTask:
    """The task of this name, opened at the first call.

    Raises:
        TaskRefused: As `LmEvalTask`.
    """
    if name not in _opened:
        _opened[name] = LmEvalTask(name, offline=offline)
    return _opened[name]


def opened_task(name: str) -> LmEvalTask | None:
    """The task of this name, if a suite has opened it here."""
    return _opened.get(name)


__all__ = ["LmEvalTask", "Overran", "TaskRefused", "open_task", "opened_task"]
