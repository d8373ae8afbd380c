"""Long jobs go first, equal ones in their order, the end last; and a full queue holds its filler back."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from mellum_eval.longest_first import LongestFirst


@given(st.lists(st.integers(0, 3)))
def test_longest_first_and_equal_ones_in_order(allowances: list[int]) -> None:
    async def through() -> list[tuple[int, int]]:
        queue: LongestFirst[tuple[int, int]] = LongestFirst(0, lambda item: item[0])
        await queue.put(None)
        for number, allowance in enumerate(allowances):
            await queue.put((allowance, number))
        out = []
        while (item := await queue.get()) is not None:
            out.append(item)
        return out

    assert asyncio.run(through()) == sorted(
        zip(allowances, range(len(allowances)), strict=True), key=lambda i: (-i[0], i[1])
    )


async def test_a_full_queue_holds_its_filler_back() -> None:
    queue: LongestFirst[int] = LongestFirst(2, float)
    filler = asyncio.create_task(_fill(queue, 5))
    await asyncio.sleep(0.01)
    assert not filler.done()
    assert [await queue.get() for _ in range(5)] and (await filler) is None


async def _fill(queue: LongestFirst[int], count: int) -> None:
    for number in range(count):
        await queue.put(number)
