"""Ray's side: which nodes there are, a pool's process on each, and calls to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

from mellum_eval import __version__
from mellum_eval.cluster.node import NodePool
from mellum_eval.cluster.spread import NodeLost, Spread
from mellum_eval.errors import PrerequisiteMissing

LOOK_S = 1.0
"""Between looks for nodes that joined."""
AGAIN_S = 15.0
"""Until a node whose pool did not open is asked again."""
REACH_S = 5.0
PLACES = 4
"""Orders a worker has outstanding: enough that none waits for the network, few enough that the nodes stay even."""
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


class RayNode:
    """A pool's process on one node; see `mellum_eval.cluster.spread.Node`."""

    def __init__(self, name: str, actor: Any, facts: dict[str, Any]) -> None:
        self.name = name
        self.actor = actor
        self.facts = facts
        self.workers = int(facts["workers"])
        self.places = PLACES * self.workers

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


class RayNodes:
    """Keeps a pool on every node that has CPUs for one, for as long as the node is there."""

    def __init__(self, spread: Spread, choice: str, workers: int | None, say: Callable[[str], None]) -> None:
        """Starts nothing.

        Args:
            spread: Is told who joins and leaves.
            choice: Which sandbox, as `sandboxes.choose.open_sandbox` takes it.
            workers: Workers a node; all of the node's CPUs if not given.
            say: Takes lines for the user.
        """
        self._spread = spread
        self._choice = choice
        self._workers = workers
        self._say = say
        self._known: dict[str, asyncio.Task[None]] = {}
        self._open: dict[str, RayNode] = {}
        self._said: set[str] = set()
        self.troubles: dict[str, tuple[str, str]] = {}
        """By node: why it has no pool, and the mend."""

    @property
    def open(self) -> list[RayNode]:
        """Nodes with a pool that takes orders."""
        return [node for node in self._open.values() if node in self._spread.nodes]

    @property
    def all_failed(self) -> bool:
        """Whether no node can have a pool, as far as is known."""
        return bool(self._known) and set(self.troubles) >= set(self._known)

    async def watch(self) -> None:
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
        for id in set(self._known) - set(alive):
            self._known.pop(id).cancel()
            self.troubles.pop(id, None)
        for id, node in alive.items():
            if id not in self._known:
                cpus = int(node["Resources"]["CPU"])
                name = f"{node['NodeManagerHostname']}/{id[:8]}"
                self._known[id] = asyncio.create_task(self._keep(id, name, self._workers or cpus))

    async def _keep(self, id: str, name: str, workers: int) -> None:
        """Have a pool on that node, and another one when it is lost while the node is there."""
        while True:
            node = None
            try:
                node = await self._start(id, name, workers)
            except (PrerequisiteMissing, NodeLost) as error:
                mend = error.mend if isinstance(error, PrerequisiteMissing) else "see the node's Ray logs"
                self.troubles[id] = (f"{name}: {getattr(error, 'what', error)}", mend)
                log.warning("%s", error)
            if node is not None:
                self.troubles.pop(id, None)
                self._open[id] = node
                self._spread.join(node)
                try:
                    while node in self._spread.nodes:
                        await asyncio.sleep(LOOK_S)
                finally:
                    self._spread.leave(node)
                    del self._open[id]
                    _kill(node.actor)
                continue
            await asyncio.sleep(AGAIN_S)

    async def _start(self, id: str, name: str, workers: int) -> RayNode:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # The pool asks for as many CPUs as it has workers: where others hold them, Ray's scheduler has it wait.
        actor: Any = (
            ray.remote(NodePool)
            .options(
                num_cpus=workers,
                max_concurrency=PLACES * workers + 8,
                scheduling_strategy=NodeAffinitySchedulingStrategy(id, soft=False),
            )
            .remote(self._choice, workers)
        )
        try:
            facts = json.loads(await actor.open.remote())
        except ray.exceptions.RayError as error:
            raise NodeLost(f"the pool's process did not start ({_line(error)})") from error
        except asyncio.CancelledError:
            _kill(actor)
            raise
        missing = (facts["error"], facts["mend"]) if "error" in facts else None
        if facts["version"] != __version__:
            missing = (f"it has mellum-eval {facts['version']}, and here is {__version__}", "install the same on both")
        if missing is not None:
            _kill(actor)
            raise PrerequisiteMissing(*missing)
        if facts["notice"] and facts["notice"] not in self._said:
            self._said.add(facts["notice"])
            self._say(f"{name}: {facts['notice']}")
        return RayNode(name, actor, facts)

    async def close(self) -> None:
        """End all pools, in order where they still answer."""
        opened = self.open
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(*(node.actor.close.remote() for node in opened), return_exceptions=True)
        for task in self._known.values():
            task.cancel()
        await asyncio.gather(*self._known.values(), return_exceptions=True)
        self._known.clear()


def _kill(actor: Any) -> None:
    import ray

    with contextlib.suppress(Exception):
        ray.kill(actor)


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
