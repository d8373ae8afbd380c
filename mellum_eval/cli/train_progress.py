"""What `train` shows on stderr: a bar with loss, tokens a second, MFU and time left; elsewhere a line now and then."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

import typer

from mellum_model.training.loop import StepReport, Watcher

_LINE_EVERY_S = 30.0


class Lines(Watcher):
    """For logs: a line every half minute, and every alarm and evaluation."""

    def __init__(self) -> None:
        self._shown = time.monotonic()

    def begun(self, step: int, steps: int) -> None:
        """Say where training goes on."""
        self._say(f"step {step} of {steps}")

    def stepped(self, report: StepReport) -> None:
        """Show a step if the last line is old, or if it is the last step."""
        if report.step == report.steps or time.monotonic() - self._shown > _LINE_EVERY_S:
            self._shown = time.monotonic()
            self._say(f"step {report.step} of {report.steps}: {_summary(report.values)}")

    def evaluated(self, step: int, values: dict[str, Any]) -> None:
        """Show held-out loss."""
        self._say(f"step {step}: held-out loss {values['loss']:.4f}")

    def alarmed(self, step: int, message: str) -> None:
        """Show an alarm."""
        self._say(f"step {step}: alarm: {message}")

    def _say(self, line: str) -> None:
        typer.echo(line, err=True)


class Bars(Lines):
    """For a terminal."""

    def __init__(self, title: str) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[summary]}", markup=False),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            speed_estimate_period=120,
        )
        self._task = self._bars.add_task(title, total=None, summary="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def begun(self, step: int, steps: int) -> None:
        """Set the bar."""
        self._bars.update(self._task, completed=step, total=steps)

    def stepped(self, report: StepReport) -> None:
        """Move the bar."""
        self._bars.update(self._task, completed=report.step, summary=_summary(report.values))

    def _say(self, line: str) -> None:
        self._bars.console.print(line, markup=False, highlight=False)


def _summary(values: dict[str, Any]) -> str:
    mfu = "" if values.get("mfu") is None else f", MFU {values['mfu']:.0%}"
    return f"loss {values['loss']:.4f}, {values['tokens_per_s']:,.0f} tok/s{mfu}"
