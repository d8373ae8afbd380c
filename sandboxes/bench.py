"""Jobs a second, ours and others', in one run on this machine with the same number of parallel workers.

One job is the same everywhere: compile and run the source of a trivial function in a process of its own and see its
result. What differs is what stands around it, which each row's note says.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sandboxes.check import CallsCheck, Limits
from sandboxes.errors import SandboxError
from sandboxes.pool import CANARY, SandboxPool
from sandboxes.sandbox import Role, Session
from sandboxes.verdict import Outcome
from sandboxes.verifiers import verifier_for

CODE = "def add(a, b):\n    return a + b\n"


@dataclass(frozen=True, slots=True)
class Row:
    """One way to run a job.

    Attributes:
        name: What was measured.
        rate: Jobs a second over all workers; None where it could not be run.
        jobs: Jobs that the rate is made of.
        note: What stands around a job, or why there is no rate.
    """

    name: str
    rate: float | None
    jobs: int
    note: str


async def bench(pool: SandboxPool, image: str | None, seconds: float = 5.0) -> list[Row]:
    """Measure each way for about that long, one after the other.

    Args:
        pool: Ours; warmed up here.
        image: Sandbox image for the `docker` rows; None leaves them out.
        seconds: For each row.
    """
    workers = pool.workers
    rows = [await _calls(pool, seconds), await _sessions(pool, seconds)]
    if image is not None and (docker := shutil.which("docker")):
        rows.append(await asyncio.to_thread(_docker_run, docker, image, workers, seconds))
        rows.append(await asyncio.to_thread(_docker_exec, docker, image, workers, seconds))
    else:
        rows.append(Row("docker run, docker exec", None, 0, "no docker command or no Docker engine here"))
    rows.append(await asyncio.to_thread(_process, workers, seconds))
    rows.append(
        await asyncio.to_thread(_script, "bare fork and run", _FORK, workers, seconds, "no isolation, no limits")
    )
    if importlib.util.find_spec("evalplus") is None:
        note = "not installed: pip install 'mellum-eval[evalplus]'"
        rows.append(Row("evalplus untrusted_check", None, 0, note))
    else:
        note = "no isolation: rlimits and patched modules in a child process"
        rows.append(await asyncio.to_thread(_script, "evalplus untrusted_check", _EVALPLUS, workers, seconds, note))
    return rows


async def _sessions(pool: SandboxPool, seconds: float) -> Row:
    async def one() -> None:
        async with pool.session(Role.ARENA, CANARY, _canary=True) as session:
            await session.send(b"x")
            await session.receive()
            await session.finish()

    rate, jobs = await _rate(one, pool.workers, seconds)
    return Row(
        f"{pool.engine} session",
        rate,
        jobs,
        "the same without the function and the comparison: its child echoes a byte",
    )


class _Clocked:
    """A pool that notes when a worker took the latest job of each task."""

    def __init__(self, pool: SandboxPool) -> None:
        self._pool = pool
        self.engine = pool.engine
        self.require, self.healthy, self.close = pool.require, pool.healthy, pool.close
        self.taken: dict[asyncio.Task[Any] | None, float] = {}

    @contextlib.asynccontextmanager
    async def session(self, role: Role, limits: Limits, **options: Any) -> AsyncIterator[Session]:
        async with self._pool.session(role, limits, **options) as session:
            self.taken[asyncio.current_task()] = time.perf_counter()
            yield session


def job_of(pool: SandboxPool) -> Callable[[], Awaitable[float]]:
    """A function that has the benchmark's job judged once and returns its service time, seconds.

    That is the time from a worker's taking the job up to its verdict: what stood in line before is not in it. The
    function raises SandboxError if the job does not pass.
    """
    check = CallsCheck(kind="calls", entry_point="add", calls=[[1, 2]], expected=[3])
    clocked = _Clocked(pool)
    verifier = verifier_for("calls", clocked)

    async def one() -> float:
        verdict = await verifier.verify(check, CODE)
        if verdict.outcome is not Outcome.PASSED:
            raise SandboxError(f"the benchmark's own job ended {verdict.outcome}: {verdict.message}")
        return time.perf_counter() - clocked.taken.pop(asyncio.current_task())

    return one


async def _calls(pool: SandboxPool, seconds: float) -> Row:
    rate, jobs = await _rate(job_of(pool), pool.workers, seconds)
    return Row(f"{pool.engine} verdict", rate, jobs, "isolation, limits, cleaning, expected values out of reach")


async def _rate(one: Callable[[], Awaitable[object]], workers: int, seconds: float) -> tuple[float, int]:
    """Run `one` on twice as many tasks as workers, so that none idles between two jobs."""
    await asyncio.gather(*(one() for _ in range(4 * workers)))  # starts every worker
    done = 0
    began = time.perf_counter()

    async def loop() -> None:
        nonlocal done
        while time.perf_counter() - began < seconds:
            await one()
            done += 1

    await asyncio.gather(*(loop() for _ in range(2 * workers)))
    return done / (time.perf_counter() - began), done


def _docker_run(docker: str, image: str, workers: int, seconds: float) -> Row:
    job = [docker, "run", "--rm", "--network", "none", image, "python3", "-c", CODE + "print(add(1, 2))"]
    rate, jobs = _commands(lambda _: job, workers, seconds)
    return Row("docker run per job", rate, jobs, "a container each")


def _docker_exec(docker: str, image: str, workers: int, seconds: float) -> Row:
    names: list[str] = []
    try:
        for _ in range(workers):
            start = [docker, "run", "-d", "--rm", "--network", "none", image, "sleep", "600"]
            names.append(subprocess.run(start, check=True, capture_output=True, text=True).stdout.strip())
        job = ["python3", "-c", CODE + "print(add(1, 2))"]
        rate, jobs = _commands(lambda worker: [docker, "exec", names[worker], *job], workers, seconds)
    finally:
        if names:
            subprocess.run([docker, "rm", "-f", *names], check=False, capture_output=True)
    return Row("docker exec per job", rate, jobs, "a shared container; nothing is cleaned between jobs")


def _process(workers: int, seconds: float) -> Row:
    """As SandboxFusion does without its isolation: a file in a directory of its own, and an interpreter on it."""

    def once() -> None:
        with tempfile.TemporaryDirectory(prefix="mellum-bench-") as place:
            script = os.path.join(place, "job.py")
            with open(script, "w", encoding="utf-8") as file:
                file.write(CODE + "print(add(1, 2))")
            done = subprocess.run([sys.executable, script], cwd=place, check=True, capture_output=True)
            if done.stdout != b"3\n":
                raise SandboxError("the benchmark's own job printed something else")

    rate, jobs = _threads(lambda _: once(), workers, seconds)
    return Row("fresh process per job", rate, jobs, "no isolation, no limits: SandboxFusion's way")


def _commands(command_of: Callable[[int], list[str]], workers: int, seconds: float) -> tuple[float, int]:
    def run(worker: int) -> None:
        subprocess.run(command_of(worker), check=True, capture_output=True)

    return _threads(run, workers, seconds)


def _threads(once: Callable[[int], None], workers: int, seconds: float) -> tuple[float, int]:
    from concurrent.futures import ThreadPoolExecutor

    began = time.perf_counter()

    def loop(worker: int) -> int:
        done = 0
        while time.perf_counter() - began < seconds:
            once(worker)
            done += 1
        return done

    with ThreadPoolExecutor(workers) as threads:
        jobs = sum(threads.map(loop, range(workers)))
    return jobs / (time.perf_counter() - began), jobs


_FORK = """\
import json, os, sys, time
code, seconds = sys.argv[1], float(sys.argv[2])
done, began = 0, time.perf_counter()
while time.perf_counter() - began < seconds:
    pid = os.fork()
    if pid == 0:
        names = {}
        exec(compile(code, "<job>", "exec"), names)
        os._exit(names["add"](1, 2) != 3)
    if os.waitpid(pid, 0)[1]:
        sys.exit("the job failed")
    done += 1
print(json.dumps([done, time.perf_counter() - began]))
"""

_EVALPLUS = """\
import json, sys, time
from evalplus.eval import PASS, untrusted_check
code, seconds = sys.argv[1], float(sys.argv[2])
def one():
    status, _ = untrusted_check("humaneval", code, [[1, 2]], "add", [3], 0, [0.01], fast_check=True)
    if status != PASS:
        sys.exit(f"the job failed: {status}")
one()
done, began = 0, time.perf_counter()
while time.perf_counter() - began < seconds:
    one()
    done += 1
print(json.dumps([done, time.perf_counter() - began]))
"""


def _script(name: str, script: str, workers: int, seconds: float, note: str) -> Row:
    """Run a measuring script once a worker, all at the same time, and add up their rates."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, CODE, str(seconds)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(workers)
    ]
    outputs = [process.communicate() for process in running]
    for process, (_, complaint) in zip(running, outputs, strict=True):
        if process.returncode != 0:
            last = (complaint.strip().splitlines() or ["no output"])[-1]
            return Row(name, None, 0, f"failed: {last[:200]}")
    measured = [json.loads(out.strip().splitlines()[-1]) for out, _ in outputs]
    return Row(name, sum(done / spent for done, spent in measured), sum(done for done, _ in measured), note)
