"""Jobs a second over HTTP beside the same jobs through `mellum-eval verify`, trivial ones, so that the rest shows.

`python -m tests.benchmarks.service_throughput [--sandbox docker] [--workers 2] [--jobs 1200]`, on an idle machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from serving import serving  # noqa: E402  the tests' own way to start the service

CODE = "def f(x): return x * x + {number}"


def jobs(count: int) -> list[dict[str, object]]:
    """Trivial jobs, no two with the same code."""
    return [
        {
            "id": str(number),
            **{"kind": "calls", "entry_point": "f", "calls": [[3], [4]]},
            **{"code": CODE.format(number=number), "expected": [9 + number, 16 + number]},
        }
        for number in range(count)
    ]


def through_the_verb(sandbox: str, workers: int, count: int) -> float:
    """Jobs a second, from the first verdict on: starting is not what is measured."""
    lines = "".join(json.dumps(job) + "\n" for job in [*jobs(64), *jobs(count)])
    command = [sys.executable, "-m", "mellum_eval", "verify", "--sandbox", sandbox, "--workers", str(workers)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(lines)
    process.stdin.close()
    for _ in range(64):
        assert json.loads(process.stdout.readline())["passed"]
    started = time.monotonic()
    for _ in range(count):
        assert json.loads(process.stdout.readline())["passed"]
    took = time.monotonic() - started
    process.wait()
    return count / took


async def over_http(url: str, count: int, size: int, outstanding: int) -> float:
    """Jobs a second in lists of `size` (1: alone), with so many jobs outstanding."""
    trusted = httpx.create_ssl_context()
    async with AsyncExitStack() as stack:
        # A client for each connection: a pool of many looks at all of them for each request, and would be measured.
        idle: asyncio.LifoQueue[httpx.AsyncClient] = asyncio.LifoQueue()
        for _ in range(outstanding // size):
            client = httpx.AsyncClient(base_url=url, timeout=120, verify=trusted)
            idle.put_nowait(await stack.enter_async_context(client))

        async def send(part: list[dict[str, object]]) -> None:
            client = await idle.get()
            reply = await client.post("/verify", json=part if size > 1 else part[0])
            idle.put_nowait(client)
            answers = reply.json() if size > 1 else [reply.json()]
            assert all(answer["passed"] for answer in answers), answers

        async def round_of(number: int) -> None:
            everything = jobs(number)
            await asyncio.gather(*(send(everything[at : at + size]) for at in range(0, number, size)))

        await round_of(64)
        started = time.monotonic()
        await round_of(count)
        return count / (time.monotonic() - started)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sandbox", default="docker")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=1200)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    ways: dict[str, list[float]] = {}
    for _ in range(given.rounds):
        ways.setdefault("verify", []).append(through_the_verb(given.sandbox, given.workers, given.jobs))
        with serving("--sandbox", given.sandbox, "--workers", str(given.workers)) as served:
            for name, size in (("HTTP, lists of 32", 32), ("HTTP, one job a request", 1)):
                rate = asyncio.run(over_http(served.url, given.jobs, size, 64))
                ways.setdefault(name, []).append(rate)
    base = max(ways["verify"])
    for name, rates in ways.items():
        print(f"{name:26} {max(rates):6.0f} jobs/s   {max(rates) / base:.2f} x verify   ({given.sandbox})")


if __name__ == "__main__":
    main()
