"""`mellum-eval report`: a leaderboard from run directories, from published tables, or from both."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN_DIR...",
            help="Run directories; results_*.json of lm-evaluation-harness; training runs, or their metrics.jsonl.",
            show_default=False,
        ),
    ] = None,
    baselines: Annotated[
        list[str] | None,
        typer.Option("--baselines", metavar="NAME...", help="Published tables to show beside, such as mellum2-report."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write. [default: RUN_DIR/report for one run, else ./mellum-report]"),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", metavar="FORMAT", help="html, md, csv, json, tex: these unless given; card, lm-eval."),
    ] = None,
    track: Annotated[
        list[str] | None,
        typer.Option(metavar="TRACKER", help="Send scores there too: wandb:PROJECT, tensorboard:DIR."),
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Then show every answer, searchable, in a browser on this machine.")
    ] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Of --serve; 0 takes a free one.")] = 8090,
) -> None:
    """Make a leaderboard from run directories."""
    import os

    from mellum_eval.terminal import one_line
    from reports.baselines import available
    from reports.build import FORMATS, build_report

    names = _split(baselines)
    paths: list[Path] = []
    for given in runs or []:
        # `--baselines A B` reads B as a run directory; it is none, and its name says what was meant.
        if given in available() and not Path(given).exists():
            names.append(given)
        else:
            paths.append(Path(given))
    training, paths = _training(paths)
    where = out if out is not None else _beside([*paths, *training])
    if training:
        _curves(training, where)
        if not paths and not names:
            return
    made = build_report(
        paths,
        baselines=names,
        out=where,
        formats=_split(formats) or FORMATS,
        workers=len(os.sched_getaffinity(0)),
        trackers=track or (),
    )
    for notice in made.notices:
        typer.echo(f"mellum-eval: {one_line(notice.text)}", err=True)
    for place in (*made.written, *made.tracked):
        typer.echo(one_line(str(place)))
    if serve:
        _serve(paths, made.of("html"), port)
    if any(notice.bad for notice in made.notices):
        raise typer.Exit(2)


def _training(paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """Training logs among what was given, and the rest."""
    from reports.lm_eval import is_results
    from reports.training_log import logs_under

    logs = {path: [] if is_results(path) else logs_under(path) for path in paths}
    return [log for found in logs.values() for log in found], [path for path in paths if not logs[path]]


def _beside(paths: list[Path]) -> Path:
    """Where a report goes that was not told."""
    if len(paths) != 1:
        return Path("mellum-report")
    return (paths[0] if paths[0].is_dir() else paths[0].parent) / "report"


def _curves(logs: list[Path], out: Path) -> None:
    """The page of training runs' curves."""
    from mellum_eval.terminal import one_line
    from reports.curves import build_curves
    from reports.training_log import read_logs

    read, notices = read_logs(logs)
    page = build_curves(read, notices, out)
    for notice in notices:
        typer.echo(f"mellum-eval: {one_line(notice.text)}", err=True)
    typer.echo(one_line(str(page)))
    if any(notice.bad for notice in notices):
        raise typer.Exit(2)


def _serve(paths: list[Path], page: Path | None, port: int) -> None:
    from mellum_eval.errors import PrerequisiteMissing, UserError
    from reports.gather import gather
    from reports.index import SampleIndex

    try:
        from reports.viewer import serve
    except ImportError as missing:
        name = (missing.name or "").partition(".")[0]
        if name not in ("starlette", "uvicorn", "h11"):
            raise
        raise PrerequisiteMissing(f"{name} is not installed", "pip install 'mellum-eval[serve]'") from missing
    index = SampleIndex(gather(paths).runs)
    if not index.entries:
        raise UserError("--serve: no judged answer in any run directory; name one that holds some")
    serve(index, page, port)


def _split(given: list[str] | None) -> list[str]:
    """Names given as several options, or with commas in one."""
    return [name.strip() for item in given or [] for name in item.split(",") if name.strip()]
