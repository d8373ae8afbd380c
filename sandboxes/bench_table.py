"""Speed of the pool in one table: by workers, by jobs outstanding, memory a worker, and beside other ways to run a job.

Jobs are whole verdicts on a trivial function, as in `bench`. They arrive in a closed loop: so many are outstanding
at any time, each replaced as it is answered. By Little's law their mean latency is outstanding / rate, whoever serves
them: with w workers outstanding / w service times, a service time being what passes from a worker's taking the job up
to its verdict, at that same load. What a pool can add to that is unfairness: p99 over p50.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from sandboxes.bench import Row, bench, job_of
from sandboxes.pool import CANARY, SandboxPool
from sandboxes.sandbox import Role

WORKERS = (1, 2, 4, 8)
QUEUED = 64
"""Jobs outstanding while worker counts are compared: enough that no worker ever waits for one."""
OUTSTANDING = (1, 8, 64, 512)
ROUNDS = 3
"""Jobs of each client at least; its first is not counted, since the queue is still filling."""


WARM_S = 2.0
"""Load before what is measured."""


@dataclass(frozen=True, slots=True)
class Load:
    """What so many outstanding jobs met at so many workers.

    Attributes:
        workers: Workers that served.
        outstanding: Jobs that were given and not answered, at any time.
        jobs: Jobs measured.
        rate: Jobs a second.
        p50_ms: Median time from giving a job to its verdict.
        p99_ms: 99th percentile of that.
        service_ms: Median time from a worker's taking a job up to its verdict, at this load.
        over_median: p99 / p50 here: 1 is perfectly fair.
        over_service: p99 / service_ms.
        over_alone: p99 here / p50 at one outstanding, which is the time of a job with the machine to itself; None
            where that was not measured.
    """

    workers: int
    outstanding: int
    jobs: int
    rate: float
    p50_ms: float
    p99_ms: float
    service_ms: float
    over_median: float
    over_service: float
    over_alone: float | None


@dataclass(frozen=True, slots=True)
class Table:
    """All of it; `workers` are those of `loads` and `beside`, and `by_workers` has a row for each count of workers.

    `memory_mb` is the PSS of a resting worker's processes by role, empty where it cannot be read.
    """

    seconds: float
    workers: int
    by_workers: list[Load]
    loads: list[Load]
    memory_mb: dict[str, float]
    beside: list[Row]


async def table(
    open_pool: Callable[[int | None], Awaitable[AbstractAsyncContextManager[SandboxPool]]],
    workers: int | None,
    seconds: float,
    *,
    counts: Sequence[int] = WORKERS,
    outstanding: Sequence[int] = OUTSTANDING,
) -> Table:
    """Measure everything, one after the other; about 14 times `seconds` and half a minute of starting and filling.

    Args:
        open_pool: Makes a pool of that many workers.
        workers: Of the pool that is put under load; the CPUs if None.
        seconds: For each row.
        counts: Workers to compare.
        outstanding: Loads to try, the first without a queue.
    """
    by_workers: list[Load] = []
    for count in counts:
        async with await open_pool(count) as pool:
            by_workers.append(await _load(pool, QUEUED, seconds, None))
    async with await open_pool(workers) as pool:
        loads: list[Load] = []
        for jobs in outstanding:
            loads.append(await _load(pool, jobs, seconds, loads[0].p50_ms if loads else None))
        memory = await _memory(pool)
        beside = await bench(pool, pool.describe().get("image"), seconds)
    return Table(seconds, pool.workers, by_workers, loads, memory, beside)


async def _load(pool: SandboxPool, outstanding: int, seconds: float, alone_ms: float | None) -> Load:
    one = job_of(pool)
    spent: list[float] = []
    served: list[float] = []

    async def client(until: float) -> int:
        rounds = 0
        while rounds < ROUNDS or time.perf_counter() < until:
            given = time.perf_counter()
            service = await one()
            if rounds:
                served.append(service * 1000)
                spent.append((time.perf_counter() - given) * 1000)
            rounds += 1
        return rounds

    async def load(for_s: float) -> float:
        began = time.perf_counter()
        done = await asyncio.gather(*(client(began + for_s) for _ in range(outstanding)))
        return sum(done) / (time.perf_counter() - began)

    await load(WARM_S)  # a pool starts workers as they are wanted, and a new one is slow at first
    spent.clear()
    served.clear()
    rate = await load(seconds)
    cuts = statistics.quantiles(spent, n=100, method="inclusive")
    p50, p99 = cuts[49], cuts[98]
    service_ms = statistics.median(served)
    if outstanding == 1:
        alone_ms = p50
    return Load(
        workers=pool.workers,
        outstanding=outstanding,
        jobs=len(spent),
        rate=rate,
        p50_ms=p50,
        p99_ms=p99,
        service_ms=service_ms,
        over_median=p99 / p50,
        over_service=p99 / service_ms,
        over_alone=p99 / alone_ms if alone_ms else None,
    )


async def _memory(pool: SandboxPool) -> dict[str, float]:
    """PSS of a worker of each role, MiB: pages that its processes share count once. The engine's own are not in it."""
    async with pool.session(Role.JUDGE, CANARY, _canary=True) as session:
        await session.send(b"x")
        await session.finish()
    await asyncio.sleep(0.2)  # the children that wait for the next session are there then
    found: dict[str, list[float]] = {}
    for worker in pool.standing():
        root = await asyncio.to_thread(_root, pool.engine, worker.channel.id)
        with contextlib.suppress(OSError, ValueError):
            found.setdefault(str(worker.role), []).append(_pss_mb(root))
    return {role: statistics.mean(sizes) for role, sizes in sorted(found.items())}


def _root(engine: str, channel: str) -> int:
    """The outermost process of a worker as this host sees it; 0 where that cannot be told."""
    if engine == "local":
        return int(channel)
    docker = shutil.which("docker")
    if docker is None:
        return 0
    asked = subprocess.run(
        [docker, "inspect", "-f", "{{.State.Pid}}", channel], capture_output=True, text=True, check=False
    )
    return int(asked.stdout) if asked.returncode == 0 else 0


def _pss_mb(pid: int) -> float:
    """Proportional set size of a process and all below it. Raises OSError where the host does not let us look."""
    kib = sum(
        int(line.split()[1])
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
        if line.startswith("Pss:")
    )
    below = 0.0
    for thread in os.listdir(f"/proc/{pid}/task"):
        for child in Path(f"/proc/{pid}/task/{thread}/children").read_text("ascii").split():
            below += _pss_mb(int(child))
    return kib / 1024 + below


_COLUMNS = ("workers", "outstanding", "jobs/s", "p50 ms", "p99 ms", "service ms", "p99/p50", "p99/service", "p99/alone")


def _row(load: Load) -> str:
    alone = "-" if load.over_alone is None else f"{load.over_alone:.1f}"
    return (
        f"{load.workers:>13}{load.outstanding:>13}{load.rate:>13.1f}{load.p50_ms:>13.1f}{load.p99_ms:>13.1f}"
        f"{load.service_ms:>13.1f}{load.over_median:>13.2f}{load.over_service:>13.1f}{alone:>13}"
    )


def lines(measured: Table) -> list[str]:
    """The table as text."""
    out = [f"{measured.seconds:g} s a row, {os.cpu_count()} CPUs; a job is a verdict on a trivial function"]
    for loads in (measured.by_workers, measured.loads):
        out += ["", "".join(f"{name:>13}" for name in _COLUMNS)]
        out += [_row(load) for load in loads]
    out.append("service: median from a worker's taking a job to its verdict, at that load")
    out.append("alone: the p50 with one outstanding, a job with the machine to itself")
    out += ["", f"{'memory of a worker':<30}{'PSS MiB':>9}"]
    out += [f"{role:<30}{size:>9.1f}" for role, size in measured.memory_mb.items()]
    if not measured.memory_mb:
        out.append("not to be read here: needs root on the engine's host")
    ours = measured.beside[0].rate
    out += ["", f"{'a job by':<30}{'jobs/s':>9}{'ours is':>10}"]
    for row in measured.beside:
        if row.rate is None:
            out.append(f"{row.name:<30}{'-':>9}{'':>10}  {row.note}")
        else:
            ratio = f"{ours / row.rate:.2f}x" if ours else ""
            out.append(f"{row.name:<30}{row.rate:>9.1f}{ratio:>10}  {row.note}")
    return out
