"""`mellum-eval data`: where the suites' files are, under which licence, and whether they are the pinned ones."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from suites import registry
from suites.sources import DataSource, SourceAltered, SourceMissing, cache_root, fetch, fetch_command, find, verify

app = typer.Typer(
    help="Show, fetch and verify the suites' data.", rich_markup_mode=None, no_args_is_help=True, add_completion=False
)

Names = Annotated[list[str] | None, typer.Argument(help="Suites, groups or data folders; all if none is named.")]


@app.command()
def status(names: Names = None) -> None:
    """List the files: where each is, its licence, its origin. Sums are not checked here; `verify` does."""
    for source in _sources(names):
        path = find(source)
        where = "missing" if path is None else "cache" if path.is_relative_to(cache_root()) else "mirror"
        typer.echo(f"{where:8} {source.file}  {source.licence}  {source.sha256[:12]}  {source.origin}")


@app.command("fetch")
def fetch_(
    names: Names = None,
    everything: Annotated[bool, typer.Option("--all", help="Every file of every suite.")] = False,
) -> None:
    """Download the files of the named suites into the user's cache, each checked by its sha256."""
    if bool(names) == everything:
        raise typer.BadParameter("name what to fetch, or say --all", param_hint="NAMES")
    for source in _sources(names):
        path = find(source)
        if path is None:
            path = fetch(source)
        else:
            verify(source, path)
        typer.echo(f"{source.file} {path}")


@app.command("verify")
def verify_(names: Names = None) -> None:
    """Hold every file at hand to its pinned sha256. Exit code 2 if one is altered, 3 if a named one is missing."""
    altered = []
    missing = []
    for source in _sources(names):
        path = find(source)
        if path is None:
            missing.append(source)
            typer.echo(f"missing  {source.file}")
            continue
        try:
            verify(source, path)
        except SourceAltered as error:
            altered.append(error)
            typer.echo(f"ALTERED  {source.file}")
        else:
            typer.echo(f"ok       {source.file}")
    if missing and names:
        raise SourceMissing(f"{len(missing)} files are missing", f"run `{fetch_command(missing[0])}`")
    if altered:
        raise altered[0]


@app.command()
def contamination(
    corpus: Annotated[
        list[Path],
        typer.Argument(metavar="CORPUS...", help="JSONL, Parquet or text files, also .gz and .zst; or directories."),
    ],
    suites: Annotated[
        list[str] | None, typer.Option("--suite", "-s", metavar="NAME", help="Only this suite or group, repeatable.")
    ] = None,
    text_field: Annotated[
        str | None, typer.Option("--field", metavar="NAME", help="The records' text. [default: every string in them]")
    ] = None,
    ngram: Annotated[int, typer.Option("--ngram", min=2, help="Words in a row that make a copy.")] = 13,
    examples: Annotated[int, typer.Option("--examples", min=0, help="Problems named for each suite.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Look for the suites' problems in a corpus. Exit code 0 if there are none, 1 if there are.

    Written benchmarks are found by words in a row, generated suites by the instance. Suites whose data is not at hand
    are listed as not checked; where they are named, that is exit code 3.
    """
    from mellum_eval.cli.contamination import lines_of, look_through
    from mellum_eval.terminal import printable

    findings = look_through(corpus, suites or None, text_field=text_field, ngram=ngram, examples=examples)
    if suites and findings.not_checked:
        raise SourceMissing(
            f"no data of {', '.join(findings.not_checked)}", f"run `mellum-eval data fetch {findings.not_checked[0]}`"
        )
    if as_json:
        typer.echo(json.dumps(findings.to_json(), indent=2))
    else:
        for line in lines_of(findings):
            typer.echo(printable(line))
    if findings.contaminated:
        raise typer.Exit(1)


def _sources(names: Iterable[str] | None) -> list[DataSource]:
    """Each file once. A name may also be a folder of the mirror, as `fetch`'s hints write it."""
    suites = [registry.get(entry.name) for entry in registry.entries()]
    everything = {source.file: source for suite in suites for source in suite.sources}
    if not names:
        return list(everything.values())
    chosen: dict[str, DataSource] = {}
    for name in names:
        folder = {file: source for file, source in everything.items() if file.startswith(f"{name}/")}
        chosen |= folder or {
            source.file: source for member in registry.expand([name]) for source in registry.get(member).data()
        }
    return list(chosen.values())
