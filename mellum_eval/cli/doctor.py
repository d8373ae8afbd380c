"""`mellum-eval doctor`: what is there and what is missing."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def doctor(
    models: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="SCHEME:REST", help="Ask this model for one token, too; repeatable."),
    ] = None,
    base: Annotated[bool, typer.Option("--base/--chat", help="Ask the models for plain continuation.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list instead of lines.")] = False,
) -> None:
    """Show what is installed, what is missing, and the command that mends it.

    Exit code 3 where nothing can be judged here for want of a sandbox, or a model that is named does not answer; what
    is merely absent is shown, and is no error.
    """
    from mellum_eval.cli.interrupts import run_until_signal
    from mellum_eval.cli.native import provide_native
    from mellum_eval.doctor import Finding, State, examine, examine_model
    from mellum_eval.errors import PrerequisiteMissing
    from mellum_eval.spec import BackendOptions
    from mellum_eval.terminal import one_line

    async def look() -> list[Finding]:
        found = await examine()
        for model in models or []:  # one after the other: each may fill the machine
            found.append(await examine_model(model, BackendOptions(base=base)))
        return found

    provide_native()
    findings = run_until_signal(look())
    if as_json:
        import json
        from dataclasses import asdict

        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            typer.echo(f"{finding.state:<7}  {finding.name:<{width}}  {one_line(finding.detail)}")
            if finding.mend:
                typer.echo(f"{'':<7}  {'':<{width}}  → {one_line(finding.mend)}")
    missing = [finding for finding in findings if finding.state is State.MISSING]
    if missing:
        raise PrerequisiteMissing(f"{missing[0].name}: {missing[0].detail}", missing[0].mend)
