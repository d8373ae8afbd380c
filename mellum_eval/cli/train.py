"""`mellum-eval train`: a recipe's stages, from random weights to an exported model."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mellum_eval.cli.model_errors import model_errors
from mellum_eval.cli.train_options import Board, Device, DryRun, From, Out, Resume, Settings, Steps, parsed_settings
from mellum_eval.cli.train_process import need_tensorboard, speaks, until_signal
from mellum_eval.cli.train_rlvr import rlvr
from mellum_eval.errors import UserError

if TYPE_CHECKING:
    from mellum_model.training.loop import Watcher
    from mellum_model.training.recipes import Recipe

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Train a Mellum model by a recipe.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

RecipeOption = Annotated[
    str, typer.Option("--recipe", metavar="NAME|FILE", help="nano, mellum2_12b, or a YAML file of your own.")
]
RanksOption = Annotated[int, typer.Option("--ranks", min=1, metavar="N", help="Processes that --dry-run counts with.")]


@app.command()
def pretrain(
    recipe: RecipeOption,
    out: Out = None,
    start: From = None,
    resume: Resume = False,
    steps: Steps = None,
    settings: Settings = None,
    device: Device = "auto",
    tensorboard: Board = False,
    dry_run: DryRun = False,
    ranks: RanksOption = 1,
) -> None:
    """Train from random weights on the recipe's curriculum."""
    _run("pretrain", recipe, out, start, resume, steps, settings, device, tensorboard, dry_run, ranks)


@app.command("long-context")
def long_context(
    recipe: RecipeOption,
    out: Out = None,
    start: From = None,
    resume: Resume = False,
    steps: Steps = None,
    settings: Settings = None,
    device: Device = "auto",
    tensorboard: Board = False,
    dry_run: DryRun = False,
    ranks: RanksOption = 1,
) -> None:
    """Extend the context: YaRN on full layers, then training on long rows."""
    _run("long_context", recipe, out, start, resume, steps, settings, device, tensorboard, dry_run, ranks)


@app.command()
def sft(
    recipe: RecipeOption,
    form: Annotated[
        str, typer.Option("--form", help="instruct (answers at once) or thinking (reasons first).")
    ] = "instruct",
    out: Out = None,
    start: From = None,
    resume: Resume = False,
    steps: Steps = None,
    settings: Settings = None,
    device: Device = "auto",
    tensorboard: Board = False,
    dry_run: DryRun = False,
    ranks: RanksOption = 1,
) -> None:
    """Fine-tune on conversations."""
    if form not in ("instruct", "thinking"):
        raise UserError(f"--form {form}: instruct and thinking are known")
    _run(f"sft_{form}", recipe, out, start, resume, steps, settings, device, tensorboard, dry_run, ranks)


app.command("rlvr")(rlvr)


def _run(
    stage: str,
    which: str,
    out: Path | None,
    start: Path | None,
    resume: bool,
    steps: int | None,
    settings: list[str] | None,
    device: str,
    tensorboard: bool,
    dry_run: bool,
    ranks: int,
) -> None:
    with model_errors():
        from mellum_model.training.recipes import load_recipe, recipe_file

        overrides = _overrides(stage, steps, settings or [])
        recipe = load_recipe(which, overrides)
        recipe.stage(stage)
        if dry_run:
            from mellum_model.training.dry_run import describe

            typer.echo(describe(recipe, stage, ranks))
            return
        if tensorboard:
            need_tensorboard()
        from mellum_eval.cli.training_sources import generators, suite_index
        from mellum_model.training.stages import Supplies, run_stage

        supplies = Supplies(generators(), suite_index, recipe_file(which).parent)
        with until_signal() as stopped, _watcher(recipe, stage) as watcher:
            done = run_stage(
                recipe,
                stage,
                out if out is not None else Path("training") / recipe.name,
                supplies=supplies,
                start=start,
                resume=resume,
                device=device,
                watcher=watcher,
                tensorboard=tensorboard,
                stop_after=lambda step: bool(stopped),
                command=shlex.join(["mellum-eval", *sys.argv[1:]]),
            )
    leads = speaks()
    if done.model is None:
        if leads:
            typer.echo(
                f"stopped after step {done.progress.step} of {done.steps}; --resume goes on from there", err=True
            )
        raise typer.Exit(130)
    if leads:
        typer.echo(f"{done.model}: {done.progress.step} steps, {done.progress.tokens:,} tokens")


def _overrides(stage: str, steps: int | None, settings: list[str]) -> dict[str, Any]:
    """`--steps` and `--set` as fields of the recipe."""
    found: dict[str, Any] = {}
    if steps is not None:
        found |= {f"stages.{stage}.steps": steps, f"stages.{stage}.tokens": None}
    for field, value in parsed_settings(settings).items():
        place = field if field.startswith(("model.", "stages.")) else f"stages.{stage}.{field}"
        found[place] = value
    return found


@contextmanager
def _watcher(recipe: Recipe, stage: str) -> Iterator[Watcher]:
    """Progress on a terminal; alarms and evaluations as lines anywhere."""
    from mellum_eval.cli.train_progress import Bars, Lines

    if not speaks():
        from mellum_model.training.loop import Watcher

        yield Watcher()
    elif not sys.stderr.isatty():
        yield Lines()
    else:
        with Bars(f"{recipe.name} {stage}") as bars:
            yield bars
