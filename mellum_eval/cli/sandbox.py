"""`mellum-eval sandbox`: build the image, see what there is, measure it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mellum_eval.cli.choices import Runtime, Which, runtime_for
from mellum_eval.errors import PrerequisiteMissing
from sandboxes.errors import SandboxError, SandboxUnavailable

if TYPE_CHECKING:
    from sandboxes.choose import Choice
    from sandboxes.languages import Family
    from sandboxes.pool import SandboxPool

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Build, inspect and measure the sandbox.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


Sandbox = Annotated[Which, typer.Option("--sandbox", help="Which sandbox to use.")]


@app.command()
def build(
    from_debian: bool = typer.Option(
        False, "--from-debian", help="Make the base from Debian packages; needs root and debootstrap, no registry."
    ),
    base_image: str | None = typer.Option(
        None, "--base-image", metavar="IMAGE", help="Build on this local image, any with python3; needs no network."
    ),
    mirror: str | None = typer.Option(
        None, "--mirror", metavar="URL", help="Debian mirror for --from-debian; debootstrap's own choice if not given."
    ),
    fresh: bool = typer.Option(False, "--fresh", help="Make the Debian base again although there is one."),
    libraries: str | None = typer.Option(
        None, "--libraries", metavar="SET", help="An image with a benchmark's Python libraries too: bigcodebench."
    ),
    tag: str | None = typer.Option(None, "--tag", help="Name of the image; the one that runs look for if not given."),
    family: list[str] | None = typer.Option(  # noqa: B008
        None,
        "--family",
        "--language",
        metavar="NAME",
        help="Build the image of this language's tools instead (cpp, java, go, ...; `all` of them); repeatable.",
    ),
) -> None:
    """Build the sandbox image, or a language's: from a registry, from Debian packages, or on an image that is there."""
    if from_debian and base_image is not None:
        raise typer.BadParameter("give either --from-debian or --base-image")
    families = _families(family or [])
    if families and tag is not None:
        raise typer.BadParameter("--tag names the Python image; a family's has a name of its own")
    from sandboxes.engines.docker import IMAGE
    from sandboxes.images.build import build as build_image
    from sandboxes.images.build import build_family
    from sandboxes.images.libraries import SETS, build_libraries

    if libraries is not None:
        if libraries not in SETS:
            raise typer.BadParameter(f"{libraries!r} is none of {', '.join(SETS)}", param_hint="--libraries")
        if from_debian or base_image is not None or fresh:
            raise typer.BadParameter("--libraries builds on the sandbox image: build that first, without it")
        with _failures_named("see the build's log above"):
            built = build_libraries(libraries, tag=tag, say=lambda line: typer.echo(line, err=True))
        typer.echo(f"{built.tag} {built.image_id} (on {built.base}, content {built.content[:12]})")
        return
    for one in families:
        with _failures_named("see the build's log above"):
            built = build_family(
                one,
                from_debian=from_debian,
                base_image=base_image,
                mirror=mirror,
                fresh=fresh and one == families[0],
                say=lambda line: typer.echo(line, err=True),
            )
        typer.echo(f"{built.tag} {built.image_id} (on {built.base}, content {built.content[:12]})")
    if families:
        return
    with _failures_named("see the build's log above"):
        built = build_image(
            from_debian=from_debian,
            base_image=base_image,
            tag=tag or IMAGE,
            mirror=mirror,
            fresh=fresh,
            say=lambda line: typer.echo(line, err=True),
        )
    typer.echo(f"{built.tag} {built.image_id} (on {built.base}, content {built.content[:12]})")


def _families(names: list[str]) -> list[Family]:
    """Families of images by their own names or those of languages; each once.

    Raises:
        typer.BadParameter: There is none of a name.
    """
    from sandboxes.languages import FAMILIES, NAMES, named

    found: dict[Family, None] = {}
    for name in names:
        if name == "all":
            found.update(dict.fromkeys(FAMILIES))
        elif name in FAMILIES:
            found[name] = None
        elif name.lower() in NAMES:
            found[named(name).family] = None
        else:
            raise typer.BadParameter(
                f"{name!r} is neither a language nor a family: {', '.join(sorted({*FAMILIES, *NAMES}))}",
                param_hint="--family",
            )
    return list(found)


@app.command()
def status(
    sandbox: Sandbox = Which.AUTO,
    runtime: Runtime = None,
    as_json: bool = typer.Option(False, "--json", help="One JSON object instead of lines."),
) -> None:
    """Show which sandbox a run would use here, and prove that it works by a job."""
    with _failures_named("see `mellum-eval doctor`"):
        facts = asyncio.run(_status(sandbox.value, runtime_for(sandbox, runtime)))
    if as_json:
        typer.echo(json.dumps(facts, indent=2, sort_keys=True))
    else:
        for line in _lines(facts):
            typer.echo(line)
    if not facts["healthy"]:
        raise PrerequisiteMissing("the sandbox started, but its trial job failed", "see `mellum-eval doctor`")


async def _status(choice: Choice, runtime: str | None = None) -> dict[str, Any]:
    async with await _open(choice, 1, runtime) as pool:
        from sandboxes.programs import versions

        facts = {**pool.describe(), "healthy": await pool.healthy(), "languages": await versions(pool)}
        del facts["workers"]  # of this look, not of a run
        if pool.notice:
            facts["notice"] = pool.notice
        return facts


@app.command()
def bench(
    sandbox: Sandbox = Which.AUTO,
    runtime: Runtime = None,
    seconds: float = typer.Option(5.0, "--seconds", min=0.1, help="How long to measure each row."),
    workers: int | None = typer.Option(None, "--workers", min=1, help="Parallel workers; the CPUs if not given."),
    table: bool = typer.Option(False, "--table", help="By workers and jobs outstanding, and memory, too (2 minutes)."),
    as_json: bool = typer.Option(False, "--json", help="JSON rows instead of a table."),
) -> None:
    """Measure jobs a second: ours, docker run, docker exec, a bare fork, evalplus; all in this one run."""
    with _failures_named("see `mellum-eval sandbox status`"):
        if table:
            asyncio.run(_table(sandbox.value, seconds, workers, as_json, runtime_for(sandbox, runtime)))
            return
        asyncio.run(_bench(sandbox.value, seconds, workers, as_json, runtime_for(sandbox, runtime)))


async def _bench(choice: Choice, seconds: float, workers: int | None, as_json: bool, runtime: str | None) -> None:
    from dataclasses import asdict

    from sandboxes.bench import bench as measure

    async with await _open(choice, workers, runtime) as pool:
        if pool.notice:
            typer.echo(pool.notice, err=True)
        rows = await measure(pool, pool.describe().get("image"), seconds)
        width = max(len(row.name) for row in rows)
        if as_json:
            typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
            return
        typer.echo(f"{pool.workers} workers, {seconds:g} s a row; 'ours is' compares with the first row")
        ours = rows[0].rate
        for row in rows:
            if row.rate is None:
                typer.echo(f"{row.name:<{width}}  {'-':>9}            {row.note}")
                continue
            ratio = f"ours is {ours / row.rate:6.1f}x" if ours and row not in rows[:2] else " " * 15
            typer.echo(f"{row.name:<{width}}  {row.rate:7.1f}/s  {ratio}  {row.note}")


async def _table(choice: Choice, seconds: float, workers: int | None, as_json: bool, runtime: str | None) -> None:
    from dataclasses import asdict

    from sandboxes.bench_table import lines, table

    measured = await table(lambda count: _open(choice, count, runtime), workers, seconds)
    typer.echo(json.dumps(asdict(measured), indent=2) if as_json else "\n".join(lines(measured)))


@contextmanager
def _failures_named(mend: str) -> Iterator[None]:
    """A sandbox that is there but fails is a missing prerequisite of these verbs, not a bug of theirs."""
    try:
        yield
    except SandboxUnavailable:
        raise
    except SandboxError as error:
        raise PrerequisiteMissing(str(error), mend) from error


async def _open(choice: Choice, workers: int | None, runtime: str | None = None) -> SandboxPool:
    from sandboxes.choose import open_sandbox

    return await open_sandbox(choice, workers, runtime=runtime)


def _lines(facts: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            lines.append(f"{indent}{name}:")
            lines += _lines(value, indent + "  ")
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
            lines.append(f"{indent}{name}: {shown}")
    return lines
