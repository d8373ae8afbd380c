"""`mellum-eval run --config FILE` where the file names `models`: plan, then run after run, then one report of all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from mellum_eval.campaign import Member
from mellum_eval.cli.failures import explain
from mellum_eval.cli.finish import finish, say
from mellum_eval.errors import UserError

_WORST_FIRST = (3, 2, 1, 70)


def show_plan(members: Sequence[Member], root: Path, *, to_stderr: bool) -> int:
    """Print what each run will take.

    Returns:
        The exit code: of what is missing or wrong with a run's suites, which is said in a line of its own.
    """
    from mellum_eval.estimate import Measured, estimate, table

    measured = Measured.of(members, root)
    rows, codes = [], {0}
    for member in members:
        try:
            rows.append((member.name, member.state(root), estimate(member, measured)))
        except Exception as error:
            code, line = explain(error)
            codes.add(code)
            say(f"{member.name}: {line}")
    for line in table(rows) if rows else []:
        typer.echo(line, err=to_stderr)
    return _worst(codes)


def run_campaign(members: Sequence[Member], root: Path, *, resume: bool, dry_run: bool) -> None:
    """Run what is owed of a campaign and report on all of it.

    A run that cannot be had (no data, no such model) is said and passed over; the others go on.

    Raises:
        UserError: Runs of the campaign are there, and nobody said to go on with them.
    """
    from mellum_eval import launch
    from mellum_eval.cli.interrupts import run_until_signal
    from mellum_eval.cli.native import PROVIDER, provide_native
    from mellum_eval.cli.progress import progress

    there = [member for member in members if member.state(root) != "new"]
    if dry_run:
        raise typer.Exit(show_plan(members, root, to_stderr=False))
    if there and not resume:
        raise UserError(f"{root} has {len(there)} of the campaign's runs; go on with them by --resume")
    codes = {show_plan(members, root, to_stderr=True)}
    provide_native()
    for number, member in enumerate(members, 1):
        state = member.state(root)
        if state == "done":
            continue
        say(f"run {number} of {len(members)}: {member.name}")
        path = root / member.name
        try:
            with progress() as watch:
                begun = state == "begun"
                work = launch.run(member.spec, path, resume=begun, say=say, watch=watch, provider=PROVIDER)
                done = run_until_signal(work)
            finish(done, member.spec.max_infra_rate)
        except KeyboardInterrupt:
            say(f"interrupted; continue with the same command and `--resume --out {root}`")
            raise typer.Exit(130) from None
        except typer.Exit as end:
            codes.add(end.exit_code)
        except Exception as error:
            code, line = explain(error)
            codes.add(code)
            say(f"{member.name}: {line}")
    _report(members, root)
    raise typer.Exit(_worst(codes))


def _report(members: Sequence[Member], root: Path) -> None:
    from mellum_eval.terminal import printable
    from reports.build import build_report

    paths = [root / member.name for member in members if member.state(root) != "new"]
    if paths:
        made = build_report(paths, out=root / "report")
        typer.echo("")
        typer.echo(f"campaign  {printable(str(root))}")
        typer.echo(f"report    {printable(str(made.of('html')))}")


def _worst(codes: set[int]) -> int:
    return next((code for code in _WORST_FIRST if code in codes), 0)
