"""Ray's side: which nodes there are, a process of ours on each, and calls to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from mellum_eval import __version__
from mellum_eval.cluster.spread import NodeLost, Spread
from mellum_eval.errors import PrerequisiteMissing

LOOK_S = 1.0
"""Between looks for nodes that joined."""
AGAIN_S = 15.0
"""Until a node whose process did not open is asked again."""
REACH_S = 5.0
CLOSE_S = 20.0
log = logging.getLogger(__name__)


def connect(address: str) -> bool:
    """Connect this process to a cluster, if it is not connected yet.

    Args:
        address: `HOST:PORT` of its head, or `auto`: the one this machine is part of.

    Returns:
        Whether the connection is ours to close.

    Raises:
        PrerequisiteMissing: Ray is not installed, or no cluster answers there.
    """
    try:
        import ray
    except ImportError as error:
        raise PrerequisiteMissing("ray is not installed", "pip install 'mellum-eval[ray]'") from error
    if ray.is_initialized():
        return False
    mend = "start one with `ray start --head`, or give the address of its head"
    if address != "auto":
        host, _, port = address.rpartition(":")
        try:  # Ray itself would try for minutes, and then end the process
            socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()
        except (OSError, ValueError, OverflowError) as error:
            why = f"{error}" if host and port.isdigit() else "HOST:PORT is wanted"
            raise PrerequisiteMissing(f"no Ray cluster answers at {address} ({why})", mend) from error
    try:
        with _quiet_about_threads():
            ray.init(address=address, log_to_driver=False, configure_logging=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PrerequisiteMissing(f"no Ray cluster answers at {address} ({line})", mend) from error
    return True


@contextlib.contextmanager
def _quiet_about_threads() -> Any:
    """Ray warns where it cannot handle signals; in the rewards' thread it shall not."""
    logger = logging.getLogger("ray")
    before = logger.level
    if threading.current_thread() is not threading.main_thread():
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process of ours may be: a node, or one of its shares.

    Attributes:
        id: Ray's, of the node.
        name: For people.
        cpus: The node's, as far as Ray knows.
        gpus: The same.
    """

    id: str
    name: str
    cpus: int
    gpus: int


class RayNode:
    """A process of ours on one node; see `mellum_eval.cluster.spread.Node`."""

    def __init__(self, name: str, actor: Any, facts: dict[str, Any], places: int) -> None:
        self.name = name
        self.actor = actor
        self.facts = facts
        self.places = places

    async def do(self, order: str) -> str:
        """Carry out an order there; cancelling that cancels it there."""
        import ray

        reference = self.actor.do.remote(order)
        try:
            reply: str = await reference
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                ray.cancel(reference)
            raise
        except ray.exceptions.RayError as error:
            raise NodeLost(f"{self.name}: {_line(error)}") from error
        return reply


Starter: TypeAlias = Callable[[Place], Awaitable[RayNode]]
"""Starts a process of ours; raises `PrerequisiteMissing` or `NodeLost` where there can be none."""


class RayNodes:
    """Keeps a process of ours on every node that has CPUs, for as long as the node is there."""

    def __init__(self, spread: Spread, start: Starter, *, by_gpu: bool = False) -> None:
        """Starts nothing.

        Args:
            spread: Is told who joins and leaves.
            start: Starts a process.
            by_gpu: One process for each of a node's GPUs, instead of one a node.
        """
        self._spread = spread
        self._start = start
        self._by_gpu = by_gpu
        self._known: dict[str, asyncio.Task[None]] = {}
        self._open: dict[str, RayNode] = {}
        self._watching: asyncio.Task[None] | None = None
        self._connected = False
        self.troubles: dict[str, tuple[str, str]] = {}
        """By place: why there is no process, and the mend."""

    @property
    def open(self) -> list[RayNode]:
        """Those that take orders."""
        return [node for node in self._open.values() if node in self._spread.nodes]

    @property
    def all_failed(self) -> bool:
        """Whether no node can have one, as far as is known."""
        return bool(self._known) and set(self.troubles) >= set(self._known)

    @property
    def begun(self) -> bool:
        """Whether the cluster is being watched."""
        return self._watching is not None

    async def begin(self, address: str) -> None:
        """Connect to the cluster and watch it.

        Raises:
            PrerequisiteMissing: As `connect`.
        """
        self._connected = await asyncio.to_thread(connect, address)
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        """Look for nodes, for ever."""
        import ray

        while True:
            try:
                nodes = await asyncio.to_thread(ray.nodes)
            except Exception as error:  # the head is away: what is judged goes on where it can
                log.warning("the cluster does not tell its nodes: %s", _line(error))
                nodes = None
            if nodes is not None:
                self._see({n["NodeID"]: n for n in nodes if n["Alive"] and n["Resources"].get("CPU", 0) >= 1})
            await asyncio.sleep(LOOK_S)

    def _see(self, alive: dict[str, Any]) -> None:
        places = {}
        for id, node in alive.items():
            cpus, gpus = (int(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU"))
            name = f"{node['NodeManagerHostname']}/{id[:8]}"
            shares = gpus if self._by_gpu and gpus else 1
            for share in range(shares):
                places[f"{id}/{share}"] = Place(id, f"{name}/{share}" if shares > 1 else name, cpus, gpus)
        for key in set(self._known) - set(places):
            self._known.pop(key).cancel()
            self.troubles.pop(key, None)
        for key, place in places.items():
            if key not in self._known:
                self._known[key] = asyncio.create_task(self._keep(key, place))

    async def _keep(self, key: str, place: Place) -> None:
        """Have a process there, and another one when it is lost while the node is there."""
        while True:
            node = None
            try:
                node = await self._start(place)
            except (PrerequisiteMissing, NodeLost) as error:
                mend = error.mend if isinstance(error, PrerequisiteMissing) else "see the node's Ray logs"
                self.troubles[key] = (f"{place.name}: {getattr(error, 'what', error)}", mend)
                if self._spread.nodes:  # else it is what the work ends with
                    log.warning("%s", error)
            if node is not None:
                self.troubles.pop(key, None)
                self._open[key] = node
                self._spread.join(node)
                try:
                    while node in self._spread.nodes:
                        await asyncio.sleep(LOOK_S)
                finally:
                    self._spread.leave(node)
                    del self._open[key]
                    _kill(node.actor)
                continue
            await asyncio.sleep(AGAIN_S)

    async def first(self, start_s: float, otherwise: tuple[str, str]) -> RayNode:
        """Wait until some process takes orders.

        Args:
            start_s: Seconds at most.
            otherwise: What is missing, and the mend, where nothing failed and yet there is none.

        Raises:
            PrerequisiteMissing: There is none.
        """
        started = time.monotonic()
        while not self.open:
            if time.monotonic() - started > start_s or self.all_failed:
                raise PrerequisiteMissing(*next(iter(self.troubles.values()), otherwise))
            await asyncio.sleep(0.05)
        return self.open[0]

    async def close(self) -> None:
        """End all processes, in order where they still answer, and the connection if it was made here."""
        watching, self._watching = self._watching, None
        if watching is None:
            return
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        opened = self.open
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(*(node.actor.close.remote() for node in opened), return_exceptions=True)
        for task in self._known.values():
            task.cancel()
        await asyncio.gather(*self._known.values(), return_exceptions=True)
        self._known.clear()
        if self._connected:
            import ray

            self._connected = False
            await asyncio.to_thread(ray.shutdown)


async def start_actor(
    kind: type, place: Place, arguments: tuple[Any, ...], *, cpus: int, gpus: int = 0, orders: int
) -> tuple[Any, dict[str, Any]]:
    """Start a process of ours on a node and open what it is there for.

    Args:
        kind: Class with `open`, `do` and `close`, which take and give text.
        place: Which node.
        arguments: For the class.
        cpus: CPUs that Ray's scheduler holds for it: where others have them, it waits.
        gpus: The same.
        orders: Orders that it takes at the same time.

    Returns:
        The actor, and the facts that its `open` gave.

    Raises:
        PrerequisiteMissing: It could not open what it is there for; says why, and the mend.
        NodeLost: It did not start.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    actor: Any = (
        ray.remote(kind)
        .options(
            num_cpus=cpus,
            num_gpus=gpus,
            max_concurrency=orders,
            scheduling_strategy=NodeAffinitySchedulingStrategy(place.id, soft=False),
        )
        .remote(*arguments)
    )
    try:
        facts = json.loads(await actor.open.remote())
    except ray.exceptions.RayError as error:
        raise NodeLost(f"{place.name}: the process did not start ({_line(error)})") from error
    except asyncio.CancelledError:
        _kill(actor)
        raise
    missing = (facts["error"], facts["mend"]) if "error" in facts else None
    if facts["version"] != __version__:
        missing = (f"it has mellum-eval {facts['version']}, and here is {__version__}", "install the same on both")
    if missing is not None:
        _kill(actor)
        raise PrerequisiteMissing(*missing)
    return actor, facts


def _kill(actor: Any) -> None:
    import ray

    with contextlib.suppress(Exception):
        ray.kill(actor)


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
