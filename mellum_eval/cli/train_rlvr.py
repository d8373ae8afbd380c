"""`mellum-eval train rlvr`: reinforcement learning with the suites' own verifiers as rewards."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mellum_eval.cli.choices import Sandbox, Workers
from mellum_eval.cli.model_errors import model_errors
from mellum_eval.cli.train_options import Board, Device, DryRun, From, Out, Resume, Settings, Steps, parsed_settings
from mellum_eval.cli.train_process import need_tensorboard, speaks, until_signal
from mellum_eval.errors import UserError

if TYPE_CHECKING:
    from mellum_model.post_training.rlvr.loop import RlvrWatcher
    from mellum_model.post_training.rlvr.run import FinishedRun

_LINE_EVERY_S = 30.0


def rlvr(
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            metavar="NAME|FILE",
            help="nano_instruct, nano_instruct_mixed, nano_thinking, nano_thinking_mixed, mellum2_12b_instruct, "
            "mellum2_12b_thinking, or a YAML file.",
        ),
    ],
    out: Out = None,
    start: From = None,
    resume: Resume = False,
    steps: Steps = None,
    settings: Settings = None,
    device: Device = "auto",
    sandbox: Sandbox = None,
    workers: Workers = None,
    ray: Annotated[
        str | None, typer.Option("--ray", metavar="ADDRESS", help="Judge on the nodes of a Ray cluster.")
    ] = None,
    service: Annotated[
        str | None,
        typer.Option("--service", metavar="URL", help="Judge by `mellum-eval serve` there; its token is MELLUM_TOKEN."),
    ] = None,
    patience_s: Annotated[
        float, typer.Option("--patience-s", min=0.1, help="Seconds that the service may be away.")
    ] = 600.0,
    tensorboard: Board = False,
    dry_run: DryRun = False,
) -> None:
    """Reinforce what verifiers pass: GRPO as Mellum 2 did it, or another method."""
    with model_errors():
        from mellum_model.post_training.rlvr.recipe import BUILT_IN, load_rlvr_recipe
        from mellum_model.training.recipes import recipe_file

        overrides = parsed_settings(settings or [])
        if steps is not None:
            overrides["steps"] = steps
        found = load_rlvr_recipe(recipe, overrides)
        root = recipe_file(recipe, BUILT_IN).parent
        if dry_run:
            from mellum_model.post_training.rlvr.dry_run import describe

            typer.echo(describe(found, root, start))
            return
        if tensorboard:
            need_tensorboard()
        from mellum_eval.cli.environments import openers
        from mellum_eval.rewards import background
        from mellum_eval.rewards.options import Options
        from mellum_model.post_training.rlvr.run import run_rlvr

        try:
            options = Options(
                sandbox=sandbox.value if sandbox else "auto", workers=workers, ray=ray, service=service,
                patience_s=patience_s,
            )  # fmt: skip
        except ValueError as error:
            raise UserError(f"--{error}") from None
        if service is not None:
            background.wait(options, lambda judges: judges.ready())
        else:  # sandboxes start while the model is loaded; where they cannot, the first judgement says so
            background.submit(options, lambda judges: judges.ready())
        directory = out if out is not None else Path("training") / found.name
        with until_signal() as stopped, _watcher(found.name) as watcher:
            done = run_rlvr(
                found,
                directory,
                openers=openers(options),
                root=root,
                start=start,
                resume=resume,
                device=device,
                watcher=watcher,
                tensorboard=tensorboard,
                stop_after=lambda step: bool(stopped),
                command=shlex.join(["mellum-eval", *sys.argv[1:]]),
            )
    if speaks():
        _say_end(done)
    if done.model is None:
        raise typer.Exit(130)


def _say_end(done: FinishedRun) -> None:
    parts = (("after the first step", done.outcome.steady), ("with it, in which sandboxes start", done.outcome.totals))
    for name, totals in parts:
        if totals.steps:
            shares = ", ".join(f"{part.replace('_', ' ')} {share:.1%}" for part, share in totals.shares().items())
            typer.echo(f"wall time {name}: {shares}", err=True)
    if done.model is None:
        typer.echo(f"stopped after step {done.outcome.step} of {done.steps}; --resume goes on from there", err=True)
        return
    typer.echo(f"{done.model}: {done.outcome.step} steps")
    first, last = done.outcome.first, done.outcome.last
    if first is not None and last is not None:
        for name, before in first["domains"].items():
            after = last["domains"].get(name, {})
            if before.get("pass@1") is not None and after.get("pass@1") is not None:
                typer.echo(f"{name}: held-out pass@1 {before['pass@1']:.1%} to {after['pass@1']:.1%}")


@contextmanager
def _watcher(title: str) -> Iterator[RlvrWatcher]:
    """A bar on a terminal; lines now and then elsewhere."""
    from mellum_model.post_training.rlvr.loop import RlvrWatcher

    class Lines(RlvrWatcher):
        def __init__(self) -> None:
            self._shown = time.monotonic()

        def begun(self, step: int, steps: int) -> None:
            self.say(f"step {step} of {steps}")

        def stepped(self, step: int, steps: int, values: Mapping[str, Any]) -> None:
            if step == steps or time.monotonic() - self._shown > _LINE_EVERY_S:
                self._shown = time.monotonic()
                self.say(f"step {step} of {steps}: {_summary(values)}")

        def validated(self, step: int, values: Mapping[str, Any]) -> None:
            domains = ", ".join(f"{name} {_percent(one['pass@1'])}" for name, one in values["domains"].items())
            self.say(f"step {step}: held-out pass@1 {domains}")

        def alarmed(self, step: int, message: str) -> None:
            self.say(f"step {step}: alarm: {message}")

        def say(self, line: str) -> None:
            typer.echo(line, err=True)

    if not speaks():
        yield RlvrWatcher()
        return
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[summary]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=120) as bars:
        task = bars.add_task(title, total=None, summary="")

        class Bar(Lines):
            def begun(self, step: int, steps: int) -> None:
                bars.update(task, completed=step, total=steps)

            def stepped(self, step: int, steps: int, values: Mapping[str, Any]) -> None:
                bars.update(task, completed=step, summary=_summary(values))

            def say(self, line: str) -> None:
                bars.console.print(line, markup=False, highlight=False)

        yield Bar()


def _summary(values: Mapping[str, Any]) -> str:
    return (
        f"reward {_percent(values['reward'])}, pass@1 {_percent(values['pass@1'])}, "
        f"{values['length'] or 0:.0f} tokens, waits: rollouts {values['waiting_on_rollouts']:.0%}, "
        f"verdicts {values['waiting_on_verdicts']:.0%}"
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
