"""`mellum-eval suites`: what can be asked, and whether its gold answers pass its own verifier."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated, cast

import typer

from mellum_eval.errors import PrerequisiteMissing
from suites import registry
from suites.catalogue import BRIDGES, GROUPS

if TYPE_CHECKING:
    from sandboxes.choose import Choice
    from suites.suite import Suite
    from suites.validate import Validation

app = typer.Typer(
    help="List, show and validate the suites.", rich_markup_mode=None, no_args_is_help=True, add_completion=False
)

LOG_EVERY_S = 30.0


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False) -> None:
    """List every suite: name, category, what it is."""
    entries = (*registry.entries(), *BRIDGES.values())
    if as_json:
        for entry in entries:
            row = {"name": entry.name, "category": entry.category, "summary": entry.summary}
            typer.echo(json.dumps(row | {"variants": entry.variants}))
        return
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        typer.echo(f"{entry.name:{width}}  {entry.category:9}  {entry.summary}")
        if entry.variants:
            typer.echo(f"{'':{width}}  {'':9}  variants: {' '.join(f':{variant}' for variant in entry.variants)}")
    for group, members in GROUPS.items():
        typer.echo(f"{group:{width}}  {'group':9}  {' '.join(members)}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="NAME or NAME:VARIANT.")],
    problems: Annotated[int, typer.Option("--problems", "-n", min=0, help="Problems to show as they are asked.")] = 1,
    base: Annotated[bool, typer.Option("--base", help="Show prompts for base models.")] = False,
) -> None:
    """Show a suite's facts, and its first problems as a model gets them."""
    from mellum_eval.terminal import printable

    suite = registry.get(name)
    if suite.name in BRIDGES:
        suite.problems()  # only the task knows what it is
    typer.echo(f"{suite.full_name}: {suite.summary}")
    typer.echo(f"category {suite.category}, version {suite.version}, metric {suite.metric}")
    typer.echo(f"sampling {suite.sampling}")
    for source in suite.data():
        typer.echo(f"data {source.file}, {source.licence}, from {source.origin}")
    if not problems:
        return
    rows = suite.problems()
    typer.echo(f"problems {len(rows)}")
    for problem in rows[:problems]:
        prompt = suite.render(problem, chat=not base)
        typer.echo(f"\n--- {problem.id}")
        for message in prompt.messages:
            typer.echo(f"[{message.role}] {printable(message.content)}")
        if prompt.text is not None:
            typer.echo(printable(prompt.text))
        for tool in prompt.tools:
            typer.echo(f"[tool] {json.dumps(tool, ensure_ascii=True)}")
        if prompt.choices:
            typer.echo(f"[choices] {list(prompt.choices)}")
        if problem.gold is not None:
            typer.echo(f"[gold] {printable(problem.gold)}")


@app.command()
def validate(
    names: Annotated[list[str] | None, typer.Argument(help="Suites or groups; all if none is named.")] = None,
    sandbox: Annotated[str, typer.Option(help="auto, docker or local.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Sandbox workers; the number of CPUs if not given.")
    ] = None,
) -> None:
    """Run every gold answer and an empty answer through the suites' own verifiers.

    Exit code 0: all as it should be; 1: some are not, each named; 3: data of a named suite, or the tools of its
    language, are missing.
    """
    import asyncio

    from suites.sources import SourceMissing, fetch_command
    from suites.validate import missing_data

    if sandbox not in ("auto", "docker", "local"):
        raise typer.BadParameter(f"{sandbox!r} is none of auto, docker, local", param_hint="--sandbox")
    full_names = registry.expand(names or [entry.name for entry in registry.entries()])
    todo = []
    for suite in map(registry.get, full_names):
        if suite.needs_judge:
            if names:
                raise PrerequisiteMissing(
                    f"{suite.full_name} has no answers to validate: only a judge model grades it",
                    f"measure the judge: `mellum-eval judge openai:MODEL@URL`, then `run --suite {suite.full_name}`",
                )
            typer.echo(f"{suite.full_name}: only a judge model grades it; `mellum-eval judge` measures one")
            continue
        missing = missing_data(suite)
        if not missing:
            try:
                suite.problems()
            except SourceMissing as error:  # a package or a program that its rules need
                if names:
                    raise
                typer.echo(f"{suite.full_name}: {error}")
            else:
                todo.append(suite)
            continue
        command = fetch_command(next(source for source in suite.data() if source.file in missing))
        if names:
            raise SourceMissing(
                f"{suite.full_name}: no {', no '.join(missing)}",
                f"run `{command}`, or point MELLUM_DATA_DIR at a mirror",
            )
        typer.echo(f"{suite.full_name}: no data at hand; `{command}` gets it")
    if todo and not asyncio.run(_validate(todo, cast("Choice", sandbox), workers, named=bool(names))):
        raise typer.Exit(1)


async def _validate(suites: list[Suite], choice: Choice, workers: int | None, *, named: bool) -> bool:
    """Whether all is as it should be. Suites whose tools are missing are listed, and an error where they are named."""
    from sandboxes.choose import open_sandbox
    from sandboxes.errors import SandboxError, SandboxUnavailable
    from sandboxes.verify import Verifiers, require_languages
    from suites.validate import validate as validate_suite

    good = True
    async with await open_sandbox(choice, workers) as pool:
        if pool.notice:
            typer.echo(pool.notice, err=True)
        verifiers = Verifiers(sandbox=pool)
        ready = []
        for suite in suites:
            try:
                await require_languages(pool, (problem.check for problem in suite.problems()))
                ready.append(suite)
            except SandboxUnavailable as error:
                if named:
                    raise
                typer.echo(f"{suite.full_name}: {error}")
        for suite in ready:
            try:
                result = await validate_suite(suite, pool, verifiers.verify, progress=_progress(suite.full_name))
            except SandboxUnavailable as error:  # libraries that its tests need
                if named:
                    raise
                typer.echo(f"{suite.full_name}: {error}")
                continue
            except SandboxError as error:
                # One suite's machinery: the others are validated all the same.
                typer.echo(f"{suite.full_name}: FAILED, its checks could not be made: {error}")
                good = False
                continue
            _report(result)
            good = good and result.ok
    return good


def _progress(name: str) -> Progress:
    """A counter on stderr."""
    return Progress(name, sys.stderr.isatty())


class Progress:
    """Rewrites one line every 10 answers where somebody is looking; a log gets a line every half minute."""

    def __init__(self, name: str, rewrites: bool) -> None:
        self._name, self._rewrites = name, rewrites
        self._due = time.monotonic() + LOG_EVERY_S

    def __call__(self, done: int, total: int) -> None:
        """Show how far it is."""
        line = f"{self._name}: {done}/{total} answers judged"
        if self._rewrites and (done % 10 == 0 or done == total):
            sys.stderr.write(f"\r{line}" + ("\n" if done == total else ""))
        elif not self._rewrites and time.monotonic() >= self._due:
            self._due += LOG_EVERY_S
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def _report(result: Validation) -> None:
    gold = f"gold {result.gold_passed}/{result.with_gold}" if result.with_gold else "gold declared absent"
    right = f", {result.empty_right} expected" if result.empty_right else ""
    wrong = f", wrong {result.wrong_passed}/{result.with_wrong}" if result.with_wrong else ""
    typer.echo(f"{result.suite}: {gold}{wrong}, empty {result.empty_passed}/{result.problems}{right}")
    for identifier, evidence in result.known.items():
        typer.echo(f"  {identifier}: gold cannot pass here: {evidence}")
    for identifier, evidence in result.let_pass.items():
        typer.echo(f"  {identifier}: a wrong answer passes the data's tests: {evidence}")
    for finding in result.findings:
        typer.echo(f"  FAILED {finding}")
