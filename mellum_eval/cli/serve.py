"""`mellum-eval serve`: the verifiers over HTTP (contract 5)."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mellum_eval.cli.choices import Ray, Runtime, Which, runtime_for
from mellum_eval.errors import PrerequisiteMissing, UserError

if TYPE_CHECKING:
    from mellum_eval.service.settings import Settings

app = typer.Typer(
    rich_markup_mode=None,
    help="Serve the verifiers over HTTP, as rewards for trainers.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def serve(
    host: Annotated[str, typer.Option("--host", help="Address to listen on; off loopback a token is required.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8080,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="File with the token that clients must show; else MELLUM_TOKEN holds it."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Jobs at the same time; the number of CPUs if not given.")
    ] = None,
    sandbox: Annotated[Which, typer.Option("--sandbox", help="Which sandbox to use.")] = Which.AUTO,
    runtime: Runtime = None,
    ray: Ray = None,
    queue: Annotated[int, typer.Option("--queue", min=1, help="Jobs running or waiting; more are refused.")] = 512,
    max_body_mb: Annotated[int, typer.Option("--max-body-mb", min=1, help="Largest request, MiB.")] = 32,
    max_cpu_s: Annotated[float, typer.Option("--max-cpu-s", min=0.1, help="Most CPU seconds of a job.")] = 300.0,
    max_memory_mb: Annotated[int, typer.Option("--max-memory-mb", min=16, help="Most memory of a job, MiB.")] = 4096,
    body_s: Annotated[
        float, typer.Option("--body-s", min=0.1, help="Seconds in which a request must have come.")
    ] = 60.0,
    drain_s: Annotated[int, typer.Option("--drain-s", min=0, help="Seconds for running jobs when told to stop.")] = 30,
) -> None:
    """Serve the verifiers over HTTP, as rewards for trainers."""
    try:
        from mellum_eval.service.server import is_loopback
        from mellum_eval.service.settings import Settings
    except ImportError as missing:
        name = (missing.name or "").partition(".")[0]
        if name not in ("starlette", "uvicorn", "h11"):
            raise
        raise PrerequisiteMissing(f"{name} is not installed", "pip install 'mellum-eval[serve]'") from missing
    token = _token(token_file)
    if token is None and not is_loopback(host):
        raise UserError(f"--host {host}: off loopback a token is required; give --token-file or set MELLUM_TOKEN")
    settings = Settings(
        token=token,
        queue=queue,
        max_body_mb=max_body_mb,
        max_cpu_s=max_cpu_s,
        max_wall_s=max(60.0, 6 * max_cpu_s),
        max_memory_mb=max_memory_mb,
        body_s=body_s,
    )
    given = runtime_for(sandbox, runtime, ray)
    ended_by = asyncio.run(_serve(settings, sandbox.value, workers, ray, host, port, drain_s, given))
    if ended_by == signal.SIGINT:
        raise KeyboardInterrupt


def _token(path: Path | None) -> str | None:
    if path is None:
        token = os.environ.get("MELLUM_TOKEN")
        if token is None:
            return None
        source = "MELLUM_TOKEN"
    else:
        try:
            token = path.read_text("utf-8").strip()
        except UnicodeDecodeError:
            raise UserError(f"{path}: not a text file") from None
        source = str(path)
    if len(token) < 8 or not token.isascii() or not token.isprintable() or " " in token:
        raise UserError(f"{source}: a token is at least 8 printable ASCII characters without a space")
    return token


async def _serve(
    settings: Settings,
    choice: str,
    workers: int | None,
    ray: str | None,
    host: str,
    port: int,
    drain_s: int,
    runtime: str | None,
) -> int | None:
    from mellum_eval.cli.finish import say
    from mellum_eval.service.app import Here, Judges, Service
    from mellum_eval.service.server import listen, serve
    from sandboxes.choose import open_sandbox

    listener = listen(host, port)
    try:
        # Opened out here and not by the server, which would end without saying what is missing.
        async with AsyncExitStack() as stack:
            judges: Judges
            if ray is not None:
                from mellum_eval.cluster import ClusterVerifiers

                cluster = await stack.enter_async_context(ClusterVerifiers(ray, choice, workers, say=say))
                judges, total = cluster, (await cluster.ready()).workers
            else:
                opened = await open_sandbox(choice, workers, runtime=runtime)  # type: ignore[arg-type]
                pool = await stack.enter_async_context(opened)
                if pool.notice:
                    say(pool.notice)
                judges, total = Here(pool), pool.workers
            number = listener.getsockname()[1]
            name = f"[{host}]" if ":" in host else host

            def started() -> None:
                say(f"serving at http://{name}:{number} ({judges.engine}, {total} workers)")

            return await serve(Service(judges, settings), listener, drain_s, started)
    finally:
        listener.close()
