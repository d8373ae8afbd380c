"""`mellum-eval data`: where the suites' files are, under which licence, and whether they are the pinned ones."""

from __future__ import annotations

from collections.abc import Iterable
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
