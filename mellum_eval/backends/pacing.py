"""How many requests an endpoint is sent at a time: one more after a round of successes, half after a sign of overload.

Additive increase and multiplicative decrease is what finds an endpoint's own limit without knowing it. A round of
refusals is one sign, not many: only a request that was sent after the last cut can cause another one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

LONGEST_HOLD_S = 600.0


class Pace:
    """Places at an endpoint, given in the order in which they are asked for."""

    def __init__(self, most: int) -> None:
        """All places free.

        Args:
            most: Requests at a time, however well it goes.
        """
        self._most = most
        self._limit = float(most)
        self._running = 0
        self._round = 0
        self._held_until = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.cuts = 0
        """How often the number was halved."""

    @property
    def limit(self) -> int:
        """Requests that may be under way now."""
        return int(self._limit)

    async def enter(self) -> int:
        """Wait for a place; the number of the round, for `overloaded`."""
        while True:
            held = self._held_until - time.monotonic()
            if held > 0:
                await asyncio.sleep(held)
            elif self._running < self.limit:
                self._running += 1
                return self._round
            else:
                await self._wait()

    def leave(self) -> None:
        """Give the place back."""
        self._running -= 1
        self._wake()

    def succeeded(self) -> None:
        """A request was answered."""
        self._limit = min(float(self._most), self._limit + 1.0 / self._limit)
        self._wake()

    def overloaded(self, entered: int, hold_s: float | None = None) -> None:
        """A request was turned away for there being too many, or never answered.

        Args:
            entered: What `enter` gave for it.
            hold_s: Seconds for which the server wants no requests at all, if it says so.
        """
        if hold_s is not None:
            self._held_until = max(self._held_until, time.monotonic() + min(hold_s, LONGEST_HOLD_S))
        if entered == self._round:
            self._round += 1
            self.cuts += 1
            self._limit = max(1.0, self._limit / 2)

    async def _wait(self) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._wake()  # it was this one's turn: the next one's now
            raise

    def _wake(self) -> None:
        free = self.limit - self._running
        while free > 0 and self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                free -= 1
