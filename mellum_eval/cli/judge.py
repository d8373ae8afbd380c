"""`mellum-eval judge`: agreement of a judge model, or of the rules, with answers that people labelled."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def judge(
    address: Annotated[
        str | None, typer.Argument(metavar="[openai:MODEL@URL]", help="The judge. [default: the rules]")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="FILE", help="JSONL of labelled answers. [default: the bundled]")
    ] = None,
    rubric: Annotated[str | None, typer.Option("--rubric", metavar="NAME", help="Only this rubric.")] = None,
    api_key_env: Annotated[
        str, typer.Option("--api-key-env", metavar="NAME", help="Variable with the key.")
    ] = "OPENAI_API_KEY",
) -> None:
    """Measure how far a judge model, or the rules, agree with labelled answers."""
    from mellum_eval.agreement import agreements, read_labels
    from mellum_eval.terminal import one_line

    found = asyncio.run(agreements(read_labels(labels), address, api_key_env=api_key_env, only=rubric))
    typer.echo(f"{'rubric':16} {'decided by':24} {'n':>4} {'agree':>6}  {'95 %':>13}  {'kappa':>6}  not judged")
    for row in found:
        interval = f"{row.low:.3f}..{row.high:.3f}"
        name = one_line(row.decided_by)[:24]
        typer.echo(
            f"{row.rubric:16} {name:24} {row.n:4} {row.share:6.3f}  {interval:>13}  {row.kappa:6.3f}  {row.not_judged}"
        )
        for (label, said), count in sorted(row.confusions.items()):
            typer.echo(f"{'':16} {count} labelled {label}, judged {said}")
