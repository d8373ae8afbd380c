"""The pool's bookkeeping: workers wear out, are told apart by memory, and are not started before they are wanted."""

from __future__ import annotations

import asyncio

import pytest
from arena_jobs import SMALL, PoolOf, run

from sandboxes import pool as pool_module
from sandboxes.check import Limits
from sandboxes.errors import SandboxError
from sandboxes.sandbox import End, Role


async def test_a_worn_out_worker_is_replaced(pool_of: PoolOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "SESSIONS_PER_WORKER", 3)
    async with pool_of() as pool:
        seen = set()
        for _ in range(9):
            await run(pool, "pass")
            seen |= {worker.channel.id for worker in pool._all}
        assert len(seen) >= 3
        assert len(pool._all) <= 1


async def test_workers_start_when_they_are_wanted(pool_of: PoolOf) -> None:
    async with pool_of(workers=3) as pool:
        await run(pool, "pass")
        assert len(pool._all) == 1
        await asyncio.gather(*(run(pool, "import time; time.sleep(2)") for _ in range(3)))
        assert len(pool._all) == 3


async def test_waiting_is_ended_by_closing(pool_of: PoolOf) -> None:
    async with pool_of() as pool:
        first = asyncio.create_task(run(pool, "import time; time.sleep(60)"))
        await asyncio.sleep(0.2)
        second = asyncio.create_task(run(pool, "pass"))
        await asyncio.sleep(0.1)
    with pytest.raises(SandboxError):
        await second
    with pytest.raises(SandboxError):
        await first
    with pytest.raises(SandboxError, match="closed"):
        await run(pool, "pass")


async def test_cancelling_who_waits_loses_no_worker(pool_of: PoolOf) -> None:
    async with pool_of() as pool:
        for _ in range(20):
            tasks = [asyncio.create_task(run(pool, "pass")) for _ in range(4)]
            await asyncio.sleep(0.003)
            for task in tasks[1:]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert (await run(pool, "send(b'next')"))[0] == [b"next"]


async def test_waiting_for_an_answer_can_be_given_up_and_taken_up_again(pool_of: PoolOf) -> None:
    """Cut anywhere, between the pieces of a frame too, nothing that was sent is lost."""
    size = 3_000_000
    async with pool_of() as pool, pool.session(Role.ARENA, SMALL) as session:
        await session.send(b"for i in range(3): send(bytes([i]) * %d)" % size)
        got, given_up = [], 0
        while len(got) < 3:
            try:
                async with asyncio.timeout(0.0005):
                    got.append(await session.receive())
            except TimeoutError:
                given_up += 1
        assert got == [bytes([i]) * size for i in range(3)]
        assert given_up > 3
        assert (await session.finish()).end is End.EXITED


async def test_the_canary_passes_beside_work(pool_of: PoolOf) -> None:
    async with pool_of(workers=2) as pool:
        work = asyncio.create_task(run(pool, "import time; time.sleep(1)"))
        assert await pool.healthy()
        await work


async def test_a_limit_below_what_python_needs_is_an_ending_not_a_hang(pool_of: PoolOf) -> None:
    async with pool_of() as pool:
        _, ending = await run(pool, "x = bytearray(100 << 20)", Limits(memory_mb=16))
        assert ending.end in (End.EXITED, End.MEMORY_LIMIT)
        async with pool.session(Role.JUDGE, SMALL) as session:
            await session.send(b"send(b'judge')")
            assert await session.receive() == b"judge"
