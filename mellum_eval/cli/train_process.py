"""The process that trains: how it is stopped, whether it speaks, and what it needs installed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from mellum_eval.errors import PrerequisiteMissing


def need_tensorboard() -> None:
    """Raises PrerequisiteMissing where it is not installed."""
    from importlib.util import find_spec

    if find_spec("tensorboard") is None:
        raise PrerequisiteMissing("tensorboard is not installed", 'pip install "mellum-eval[train]"')


@contextmanager
def until_signal() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM let the step end and a checkpoint be written; a second one does not wait."""
    stopped: list[int] = []

    def stop(number: int, frame: object) -> None:
        if stopped:
            raise KeyboardInterrupt
        stopped.append(number)
        typer.echo("stopping after this step; once more to stop at once", err=True)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def speaks() -> bool:
    """Whether this process speaks for those that `torchrun` started."""
    return os.environ.get("RANK", "0") == "0"
