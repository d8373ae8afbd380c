"""An endpoint's own limit is found, held to, and found anew."""

from __future__ import annotations

import asyncio
import time

from mellum_eval.backends.pacing import Pace


async def test_a_round_of_refusals_halves_once_and_successes_win_it_back() -> None:
    pace = Pace(16)
    entered = [await pace.enter() for _ in range(16)]
    for number in entered:
        pace.overloaded(number)
        pace.leave()
    assert (pace.limit, pace.cuts) == (8, 1)
    pace.overloaded(await pace.enter())
    assert (pace.limit, pace.cuts) == (4, 2)
    pace.leave()
    for _ in range(1000):
        pace.succeeded()
    assert pace.limit == 16


async def test_it_never_falls_below_one_and_a_server_that_asks_for_time_gets_it_from_all() -> None:
    pace = Pace(4)
    for _ in range(10):
        pace.overloaded(await pace.enter(), hold_s=0.2)
        pace.leave()
    assert pace.limit == 1
    start = time.monotonic()
    await pace.enter()
    assert time.monotonic() - start >= 0.15


async def test_no_place_is_lost_when_those_who_wait_give_up() -> None:
    pace = Pace(2)
    await pace.enter()
    await pace.enter()
    waiting = [asyncio.create_task(pace.enter()) for _ in range(6)]
    await asyncio.sleep(0)
    pace.leave()  # hands the place to the first, which gives up at the same moment
    waiting[0].cancel()
    waiting[1].cancel()
    async with asyncio.timeout(5):
        await waiting[2]
        for task in waiting[3:]:
            pace.leave()
            await task
