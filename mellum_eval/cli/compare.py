"""`mellum-eval compare`: did the second run do better, and on which problems?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mellum_eval.errors import UserError

if TYPE_CHECKING:
    from reports.comparing import SuiteComparison, Values
    from reports.run import Run

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def compare(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="The run to compare with.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="The run that may be better.")],
    suites: Annotated[
        list[str] | None, typer.Option("--suite", "-s", metavar="NAME", help="Only this suite, repeatable.")
    ] = None,
    flips: Annotated[
        int, typer.Option("--flips", metavar="N", min=0, help="Problems shown in each direction, a suite.")
    ] = 10,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Also write compare.html, with the answers side by side."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON with every flipped problem, instead of a table.")
    ] = False,
) -> None:
    """Compare two runs problem by problem, with intervals."""
    from mellum_eval.cli.finish import say
    from reports.comparing import compare_suites
    from reports.gather import gather

    if run_a.resolve() == run_b.resolve():
        raise UserError(f"{run_a} is given twice; a run is no better than itself")
    found = gather([run_a, run_b])
    runs, notices = found.runs, found.notices
    if len(runs) < 2:
        raise UserError("; ".join(notice.text for notice in notices if notice.bad))
    for notice in notices:
        say(notice.text)
    lower = {name for name, result in runs[0].suites.items() if result.record.lower_is_better}
    rows = compare_suites(_shared(runs[0], runs[1], suites or []), lower)
    if not rows:
        raise UserError(f"{run_a} and {run_b} have no suite in common that can be compared")
    if out is not None:
        from reports.flips import flips as flipped
        from reports.versus import render_versus
        from reports.writing import write

        page = render_versus(runs[0], runs[1], rows, flipped(runs[0], runs[1], rows, flips))
        say(f"wrote {write(out, 'compare.html', page)}")
    if as_json:
        import json
        from dataclasses import asdict

        typer.echo(json.dumps({"a": str(run_a), "b": str(run_b), "suites": [asdict(row) for row in rows]}, indent=2))
        return
    _show(runs[0], runs[1], rows, flips)


def _shared(a: Run, b: Run, wanted: list[str]) -> dict[str, tuple[str, Values, Values]]:
    """The suites that both runs have scores for, of the same version and data.

    Raises:
        UserError: A wanted suite is not among them.
    """
    from mellum_eval.cli.finish import say

    pairs: dict[str, tuple[str, Values, Values]] = {}
    for name, first in a.suites.items():
        second = b.suites.get(name)
        if second is None or (wanted and name not in wanted):
            continue
        if first.identity != second.identity or first.headline != second.headline:
            say(f"suite {name}: its version, data or metric differ between the runs; left out")
        elif first.values is None or second.values is None:
            say(f"suite {name}: no verdicts to pair; left out")
        else:
            pairs[name] = (first.headline, first.values.by_problem(), second.values.by_problem())
    for name in wanted:
        if name not in pairs:
            raise UserError(f"suite {name} is not in both runs in a form that can be compared")
    return pairs


def _show(a: Run, b: Run, rows: list[SuiteComparison], flips: int) -> None:
    from mellum_eval.terminal import one_line
    from reports.wording import template_of

    for mark, run in (("A", a), ("B", b)):
        template = f"  chat template {one_line(template_of(run))}" if template_of(run) else ""
        typer.echo(f"{mark}  {one_line(run.label)}  ({one_line(str(run.path))}){template}")
    typer.echo("")
    head = (
        "suite",
        "metric",
        "A",
        "B",
        "B - A",
        "95 % interval",
        "bootstrap",
        "p",
        "p adj.",
        "won",
        "lost",
        "n",
        "sees",
    )
    cells = [head]
    for row in rows:
        cells.append(
            (
                one_line(row.name),
                row.metric,
                f"{100 * row.a:.1f}",
                f"{100 * row.b:.1f}",
                f"{100 * row.paired.value:+.1f}",
                f"{100 * row.paired.lo:+.1f} to {100 * row.paired.hi:+.1f}",
                f"{100 * row.bootstrap.lo:+.1f} to {100 * row.bootstrap.hi:+.1f}",
                f"{row.paired.p_value:.3g}",
                f"{row.adjusted_p:.3g}",
                str(len(row.gained)),
                str(len(row.lost)),
                str(row.paired.n),
                f"{100 * row.detectable:.1f}",
            )
        )
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for cell in cells:
        padded = (
            text.ljust(w) if i < 2 else text.rjust(w) for i, (text, w) in enumerate(zip(cell, widths, strict=True))
        )
        typer.echo("  ".join(padded).rstrip())
    typer.echo("")
    for row in rows:
        if row.unshared:
            typer.echo(f"{one_line(row.name)}: {row.unshared} problems have a score in one run only and are left out")
        for verb, problems in (("won by B", row.gained), ("lost by B", row.lost)):
            if problems and flips:
                shown = ", ".join(one_line(problem, 80) for problem in problems[:flips])
                more = f", and {len(problems) - flips} more" if len(problems) > flips else ""
                typer.echo(f"{one_line(row.name)}: {verb}: {shown}{more}")
    methods = " / ".join(sorted({row.paired.method for row in rows}))
    typer.echo("sees: smallest true difference that these problems show four times out of five")
    typer.echo(f"in points of 100; {methods}; p adjusted for {len(rows)} suites by Holm")
