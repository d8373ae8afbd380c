"""Seconds that a batch of rewards by a service takes, by the time a round trip to it takes; trivial jobs.

`python -m tests.benchmarks.remote_rewards [--rows 256] [--round-trip-ms 0 50 200]`. What lies between the two is a
proxy in a process of its own that holds back what it passes on; a new connection costs a round trip more.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from serving import serving  # noqa: E402  the tests' own way to start the service

from mellum_eval.rewards.remote import RemoteVerifiers  # noqa: E402
from sandboxes.check import CHECK, Answer, Check  # noqa: E402

KINDS = ("math", "calls")


def rows(kind: str, count: int) -> list[tuple[Check, Answer]]:
    """Trivial jobs, no two with the same answer; `math` needs no sandbox, so that the way there is nearly all."""
    if kind == "math":
        return [
            (CHECK.validate_python({"kind": kind, "answer": str(number)}), f"\\boxed{{{number}}}")
            for number in range(count)
        ]
    return [
        (
            CHECK.validate_python({"kind": kind, "entry_point": "f", "calls": [[3]], "expected": [9 + number]}),
            f"def f(x): return x * x + {number}",
        )
        for number in range(count)
    ]


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hold_s: float, first_s: float) -> None:
    loop = asyncio.get_running_loop()
    held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def pass_on() -> None:
        while True:
            due, data = await held.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                with suppress(OSError):
                    writer.write_eof()
                return
            writer.write(data)

    passing = asyncio.ensure_future(pass_on())
    while data := await reader.read(1 << 16):
        held.put_nowait((loop.time() + hold_s + first_s, data))
        first_s = 0.0
    held.put_nowait((loop.time() + hold_s, b""))
    await passing


def _proxy(port: int, hold_s: float, address: Connection) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        with suppress(OSError):
            await asyncio.gather(_pump(reader, back, hold_s, 2 * hold_s), _pump(there, writer, hold_s, 0.0))
        writer.close()
        back.close()

    async def main() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=512)
        address.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


@contextmanager
def far_away(url: str, round_trip_s: float) -> Iterator[str]:
    """An address at which a service is a round trip away."""
    ours, theirs = multiprocessing.Pipe()
    port = int(url.rsplit(":", 1)[1])
    process = multiprocessing.Process(target=_proxy, args=(port, round_trip_s / 2, theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.kill()
        process.join()


async def judged(url: str, batch: list[tuple[Check, Answer]], rounds: int) -> list[tuple[float, float]]:
    """Wall and this process's CPU seconds of each round over the same connections."""
    judges, found = RemoteVerifiers(url, 600.0), []
    await judges.ready()
    for _ in range(rounds):
        begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
        verdicts = await asyncio.gather(*(judges.verify_twice(check, answer) for check, answer in batch))
        assert all(verdict.passed for verdict in verdicts)
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found.append((time.monotonic() - begun, cpu))
    await judges.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--round-trip-ms", type=float, nargs="+", default=[0, 50, 200])
    given = parser.parse_args()
    with serving("--sandbox", "local", "--workers", "2") as served:
        for round_trip_ms in given.round_trip_ms:
            with far_away(served.url, round_trip_ms / 1000) as url:
                for kind in KINDS:
                    first, *rest = asyncio.run(judged(url, rows(kind, given.rows), given.rounds))
                    wall, cpu = min(rest)
                    print(
                        f"{round_trip_ms:4.0f} ms  {kind:5}  {given.rows} rows: first {first[0]:.2f} s, "
                        f"then {wall:.2f} s ({cpu:.2f} s of CPU here)",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
