"""Which sandbox there is here: Docker if it answers and has the image, else the embedded `local` one, said aloud."""

from __future__ import annotations

import importlib
import os
from typing import Literal

from sandboxes.engines.base import Engine
from sandboxes.errors import SandboxUnavailable
from sandboxes.pool import SandboxPool

IMAGE_VARIABLE = "MELLUM_SANDBOX_IMAGE"
"""Names another sandbox image for every command: one with a benchmark's libraries, say."""

Choice = Literal["auto", "docker", "local"]


async def open_sandbox(
    choice: Choice = "auto",
    workers: int | None = None,
    *,
    image: str | None = None,
    runtime: str | None = None,
) -> SandboxPool:
    """A started pool; close it when done (or use it as an async context manager).

    Args:
        choice: `docker` and `local` insist; `auto` takes Docker where it can be had, else local, and then the pool's
            `notice` is a line that says so and names the command that mends it.
        workers: Workers of each role at most; the number of CPUs if not given.
        image: Another sandbox image (Docker); else the one that `MELLUM_SANDBOX_IMAGE` names, else our own.
        runtime: Another OCI runtime; insists on Docker.

    Raises:
        SandboxUnavailable: What was asked for cannot be had here; `mend` is the command that changes that.
        SandboxError: It is there, but failed to start.
        ValueError: `local` has no OCI runtime.
    """
    if runtime is not None:
        if choice == "local":
            raise ValueError("--runtime: the local sandbox has no OCI runtime; use --sandbox docker")
        choice = "docker"
    if choice == "local":
        return await _started(_local(), workers)
    from sandboxes.engines.docker import IMAGE, DockerEngine

    docker = DockerEngine(image=image or os.environ.get(IMAGE_VARIABLE) or IMAGE, runtime=runtime)
    try:
        await docker.open()
    except SandboxUnavailable as missing:
        await docker.close()
        if choice == "docker":
            raise
        try:
            pool = await _started(_local(), workers)
        except SandboxUnavailable as also:
            raise SandboxUnavailable(f"{missing.what}, and {also.what}", f"{missing.mend}; or {also.mend}") from also
        pool.notice = f"local sandbox: {missing.what}; {missing.mend}"
        return pool
    return await _started(docker, workers)


def _local() -> Engine:
    # By name: the engine brings tables and system calls that nobody else needs to load.
    engine: Engine = importlib.import_module("sandboxes.engines.local").LocalEngine()
    return engine


async def _started(engine: Engine, workers: int | None) -> SandboxPool:
    pool = SandboxPool(engine, workers)
    try:
        await pool.start()
    except BaseException:
        await pool.close()
        raise
    return pool
