"""A pool of sandboxes on each node."""

from __future__ import annotations

from collections.abc import Callable

from mellum_eval.cluster.node import NodePool
from mellum_eval.cluster.rays import Place, RayNode, start_actor

PLACES = 4
"""Orders a worker has outstanding: enough that none waits for the network, few enough that the nodes stay even."""


class PoolStarter:
    """Starts pools; see `mellum_eval.cluster.rays.Starter`."""

    def __init__(self, choice: str, workers: int | None, say: Callable[[str], None]) -> None:
        """Starts nothing.

        Args:
            choice: Which sandbox, as `sandboxes.choose.open_sandbox` takes it.
            workers: Workers a node; all of the node's CPUs if not given.
            say: Takes lines for the user.
        """
        self._choice = choice
        self._workers = workers
        self._say = say
        self._said: set[str] = set()

    async def __call__(self, place: Place) -> RayNode:
        """Start one; it asks for as many CPUs as it has workers."""
        workers = self._workers or place.cpus
        orders = PLACES * workers
        actor, facts = await start_actor(NodePool, place, (self._choice, workers), cpus=workers, orders=orders + 8)
        if facts["notice"] and facts["notice"] not in self._said:
            self._said.add(facts["notice"])
            self._say(f"{place.name}: {facts['notice']}")
        return RayNode(place.name, actor, facts, PLACES * int(facts["workers"]))
