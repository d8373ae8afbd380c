"""Who does what: orders go to the node with most room, wait where none has any, and go elsewhere when one is lost."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from typing import Protocol

from sandboxes.errors import SandboxError

LOOK_S = 0.5


class NodeLost(Exception):
    """The node, or its pool's process, went away with an order. Whether it was carried out is not known."""


class NoNodeLeft(SandboxError):
    """There is none any more, and none came back in time."""


class Node(Protocol):
    """Where orders are carried out."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def places(self) -> int:
        """Orders that it takes at the same time."""
        ...

    async def do(self, order: str) -> str:
        """Carry out an order.

        Raises:
            NodeLost: It went away.
        """
        ...


class Spread:
    """Nodes that come and go, and the orders that wait for them, first come first served.

    Every order has one caller and gets one reply: what a lost node may have found out is thrown away.

    Attributes:
        done: Orders carried out, by the node's name.
    """

    def __init__(self, *, patience_s: float = 30.0, tries: int = 4) -> None:
        """Without nodes.

        Args:
            patience_s: Seconds without any node after which orders fail.
            tries: Nodes that may be lost under one order. It may be what kills them, and must not kill them all.
        """
        self.done: Counter[str] = Counter()
        self._patience_s = patience_s
        self._tries = tries
        self._free: dict[Node, int] = {}
        self._waiting: deque[asyncio.Future[Node]] = deque()
        self._without_since = time.monotonic()

    @property
    def nodes(self) -> list[Node]:
        """Those that are there."""
        return list(self._free)

    def join(self, node: Node) -> None:
        """A node takes orders from now on."""
        self._free[node] = node.places
        self._hand_out()

    def leave(self, node: Node) -> None:
        """A node takes no more; those it has may still be answered."""
        self._free.pop(node, None)
        if not self._free:
            self._without_since = time.monotonic()

    async def do(self, order: str) -> str:
        """Have an order carried out by some node.

        Raises:
            NoNodeLeft: There is no node any more.
            SandboxError: Too many were lost under it.
        """
        for _ in range(self._tries):
            node = await self._place()
            try:
                reply = await node.do(order)
            except NodeLost as error:
                self.leave(node)
                lost = error
            else:
                self.done[node.name] += 1
                return reply
            finally:
                self._release(node)
        raise SandboxError(f"{self._tries} nodes were lost under this job ({lost})") from lost

    async def _place(self) -> Node:
        node = None if self._waiting else self._roomiest()
        if node is not None:
            self._free[node] -= 1
            return node
        future: asyncio.Future[Node] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            while not future.done():
                await asyncio.wait({future}, timeout=min(LOOK_S, self._patience_s))
                if not future.done() and not self._free and self._alone_s() >= self._patience_s:
                    raise NoNodeLeft("no node of the cluster is left")
            return future.result()
        except BaseException:
            if future.done() and not future.cancelled():
                self._release(future.result())
            future.cancel()
            raise

    def _alone_s(self) -> float:
        return time.monotonic() - self._without_since

    def _release(self, node: Node) -> None:
        if node in self._free:
            self._free[node] += 1
            self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting:
            if self._waiting[0].done():
                self._waiting.popleft()
                continue
            node = self._roomiest()
            if node is None:
                return
            self._free[node] -= 1
            self._waiting.popleft().set_result(node)

    def _roomiest(self) -> Node | None:
        """The node with the largest share of its places free."""
        node = max(self._free, key=lambda node: self._free[node] / node.places, default=None)
        return node if node is not None and self._free[node] > 0 else None
