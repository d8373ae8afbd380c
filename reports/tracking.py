"""A report's numbers in an experiment tracker: a run of Weights & Biases, or TensorBoard's event files, for each run.

What is tracked is what `scores.json` has: each suite's metrics with their intervals, rates and outcomes, as single
numbers named `SUITE/METRIC`. No prompt and no answer leaves the machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from mellum_eval.errors import PrerequisiteMissing, UserError
from mellum_eval.jsonl import dumps
from mellum_eval.terminal import one_line
from reports.board import Row
from reports.text import visible

TRACKERS = "wandb:PROJECT, tensorboard:DIR"
_NAME = 200


def track(rows: Sequence[Row], target: str) -> list[str]:
    """Send the scores of some runs to a tracker; a run that is there already is brought up to date.

    Args:
        rows: Measured runs.
        target: `wandb:PROJECT` (offline with `WANDB_MODE=offline`) or `tensorboard:DIR`.

    Returns:
        Where each run went, as the tracker says it.

    Raises:
        UserError: There is no such tracker, or it refused.
        PrerequisiteMissing: Its package is not installed.
    """
    kind, _, place = target.partition(":")
    if kind not in ("wandb", "tensorboard") or not place:
        raise UserError(f"--track {target}: give one of {TRACKERS}")
    return _to_wandb(rows, place) if kind == "wandb" else _to_tensorboard(rows, Path(place))


def scalars(row: Row) -> Iterator[tuple[str, float]]:
    """Names and numbers of one run."""
    for suite, cell in row.cells.items():
        scores = cell.result.scores
        for name, metric in scores.metrics.items():
            lo, hi = metric.ci95
            yield f"{suite}/{name}", metric.value
            yield f"{suite}/{name}/ci95_low", lo
            yield f"{suite}/{name}/ci95_high", hi
        yield f"{suite}/problems", scores.n
        yield f"{suite}/unparsed_rate", scores.unparsed_rate
        yield f"{suite}/infra_error_rate", scores.infra_error_rate
        for outcome, count in scores.outcomes.items():
            yield f"{suite}/outcomes/{outcome}", count


def _identity(row: Row) -> str:
    """The same for a run however often it is tracked, and for no other."""
    manifest = row.run.manifest
    return hashlib.sha256(dumps([manifest.created, manifest.command, manifest.model]).encode()).hexdigest()[:16]


def _to_wandb(rows: Sequence[Row], project: str) -> list[str]:
    try:
        import wandb
    except ImportError as error:
        raise PrerequisiteMissing("wandb is not installed", "pip install wandb") from error
    places = []
    for row in rows:
        manifest = row.run.manifest
        config = {"model": manifest.model, "spec": manifest.spec, "seeds": manifest.seeds, "sandbox": manifest.sandbox}
        settings = wandb.Settings(
            silent=True, console="off", disable_git=True, disable_code=True, x_disable_machine_info=True
        )
        try:
            run = wandb.init(
                project=project,
                id=_identity(row),
                name=one_line(row.run.label, _NAME),
                config=visible(config),
                resume="allow",
                job_type="evaluation",
                settings=settings,
            )
            run.summary.update({one_line(name, _NAME): value for name, value in scalars(row)})
            run.finish()
        except (wandb.errors.Error, ValueError, OSError) as error:
            line = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"--track wandb:{project}: {line}") from error
        places.append(str(Path(run.dir).parent if run.offline else run.url))
    return places


def _to_tensorboard(rows: Sequence[Row], directory: Path) -> list[str]:
    try:
        from tensorboard.summary import Writer
    except ImportError as error:
        raise PrerequisiteMissing("tensorboard is not installed", "pip install tensorboard") from error
    places = []
    for row in rows:
        place = directory / _identity(row)
        try:
            place.mkdir(parents=True, exist_ok=True)
            for old in place.glob("events.out.tfevents.*"):
                old.unlink()
            writer = Writer(str(place))
            for name, value in scalars(row):
                writer.add_scalar(one_line(name, _NAME), value, 0)
            writer.close()
        except OSError as error:
            raise UserError(f"--track tensorboard:{directory}: {error.strerror or error}") from None
        places.append(str(place))
    return places
