"""Requests that several items share: what waits when one may leave goes together, and nothing waits for company."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Reply = TypeVar("Reply")


@dataclass(slots=True)
class _Waiting(Generic[Item, Reply]):
    item: Item
    alone: bool
    reply: asyncio.Future[Reply]


class Batcher(Generic[Item, Reply]):
    """Sends items over a bounded number of requests, of one event loop.

    A batch is as small as gets all that waits under way at once, for its replies come together.

    Attributes:
        room: Items under way at most, over all requests.
    """

    def __init__(
        self, send: Callable[[list[Item]], Awaitable[Sequence[Reply | Exception]]], *, requests: int, items: int
    ) -> None:
        """Sends nothing yet.

        Args:
            send: Makes one request, and returns a reply or an error for each item; what it raises is every item's.
            requests: Under way at the same time, at most.
            items: Of one request, at most.
        """
        self.room = requests * items
        self._send, self._requests, self._items = send, requests, items
        self._waiting: deque[_Waiting[Item, Reply]] = deque()
        self._requesting: set[asyncio.Task[None]] = set()
        self._sent = 0
        self._awake = False

    async def __call__(self, item: Item, *, alone: bool = False) -> Reply:
        """The reply to an item; cancelled, it ends a request that nobody else waits for.

        Args:
            item: To send.
            alone: In a request of its own.
        """
        one: _Waiting[Item, Reply] = _Waiting(item, alone, asyncio.get_running_loop().create_future())
        self._waiting.append(one)
        self._wake()
        return await one.reply

    async def close(self) -> None:
        """End all requests; whoever waits is cancelled."""
        for one in self._waiting:
            one.reply.cancel()
        requesting = list(self._requesting)
        for task in requesting:
            task.cancel()
        await asyncio.gather(*requesting, return_exceptions=True)

    def _wake(self) -> None:
        """Hand out once those who come in the same turn of the loop are here too."""
        if not self._awake:
            self._awake = True
            asyncio.get_running_loop().call_soon(self._hand_out)

    def _hand_out(self) -> None:
        self._awake = False
        while self._waiting:
            free, room = self._requests - len(self._requesting), self.room - self._sent
            if free <= 0 or room <= 0:
                return
            wanted = -(-min(len(self._waiting), room) // free)
            batch = self._taken(min(wanted, self._items))
            if batch:
                self._start(batch)

    def _taken(self, count: int) -> list[_Waiting[Item, Reply]]:
        batch: list[_Waiting[Item, Reply]] = []
        while self._waiting and len(batch) < count:
            one = self._waiting[0]
            if batch and (one.alone or batch[0].alone):
                break
            self._waiting.popleft()
            if not one.reply.done():
                batch.append(one)
        return batch

    def _start(self, batch: list[_Waiting[Item, Reply]]) -> None:
        self._sent += len(batch)
        task = asyncio.ensure_future(self._do(batch))
        self._requesting.add(task)

        def ended(_: asyncio.Task[None]) -> None:  # also of a task that was cancelled before its first step
            self._requesting.discard(task)
            self._sent -= len(batch)
            for one in batch:
                one.reply.cancel()
            self._wake()

        def end_if_nobody_waits(_: asyncio.Future[Reply]) -> None:
            if all(one.reply.cancelled() for one in batch):
                task.cancel()

        task.add_done_callback(ended)
        for one in batch:
            one.reply.add_done_callback(end_if_nobody_waits)

    async def _do(self, batch: list[_Waiting[Item, Reply]]) -> None:
        try:
            found: Sequence[Reply | Exception] = await self._send([one.item for one in batch])
        except Exception as error:
            found = [error] * len(batch)
        for one, reply in zip(batch, found, strict=True):
            if one.reply.done():
                continue
            if isinstance(reply, Exception):
                one.reply.set_exception(reply)
            else:
                one.reply.set_result(reply)
