"""How `run` and `rescore` end: the table and the report's path on stdout, what went wrong on stderr, the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from mellum_eval.launch import Finished


def say(line: str) -> None:
    """A line for the user on stderr."""
    from mellum_eval.terminal import one_line

    typer.echo(f"mellum-eval: {one_line(line)}", err=True)


def finish(done: Finished, max_infra_rate: float) -> None:
    """Show the scores, write the report, and leave with 1 where too much could not be judged."""
    from mellum_eval.summary import summary_lines
    from mellum_eval.terminal import printable
    from reports.build import build_report

    for line in summary_lines(done.planned, done.scores):
        typer.echo(printable(line))
    over = False
    for name, trouble in done.troubles.items():
        scores = done.scores.suites.get(name)
        if scores is None:
            continue
        rate = scores.infra_error_rate
        over = over or rate > max_infra_rate
        count, total = scores.outcomes.get("infra_error", 0), sum(scores.outcomes.values())
        say(f"{name}: {count} of {total} answers could not be judged and are left out; most often: {trouble}")
    made = build_report([done.path], out=done.path / "report")
    for notice in made.notices:
        say(notice.text)
    typer.echo("")
    typer.echo(f"run     {printable(str(done.path))}")
    typer.echo(f"report  {printable(str(made.of('html')))}")
    for name, line in (("spent", done.spent), ("time", done.time)):
        if line:
            typer.echo(f"{name:<7} {line}")
    if over:
        share = f"{100 * max_infra_rate:g} %"
        say(f"more than {share} of a suite could not be judged; mend that and continue with --resume")
        raise typer.Exit(1)
