"""A model on every node of a Ray cluster: the face of one backend, the work spread over its replicas."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

from mellum_eval.backends.base import BackendInfo, Completion, Failure, Reply, Request, concurrently
from mellum_eval.cluster import rays, wire
from mellum_eval.cluster.replica import NodeModel
from mellum_eval.cluster.spread import NoNodeLeft, Spread
from mellum_eval.errors import PrerequisiteMissing
from mellum_eval.spec import BackendOptions
from sandboxes.errors import SandboxError

START_S = 1800.0
"""How long the first replica may take: large models are read from a disk somewhere."""
AHEAD = 64
"""Requests asked for beyond those that replicas work on, so that a node that joins finds some."""


class _ReplicaStarter:
    """Starts replicas; see `mellum_eval.cluster.rays.Starter`. All must be the same model."""

    def __init__(self, model: str, options: BackendOptions, provider: str) -> None:
        # Processes on the nodes have working directories of their own.
        scheme, _, path = model.partition(":")
        self._model = f"{scheme}:{Path(path).resolve()}" if path and Path(path).exists() else model
        self._options, self._provider = options, provider
        self._identity: tuple[str, Any] | None = None

    async def __call__(self, place: rays.Place) -> rays.RayNode:
        # The model asks for no CPU: those of the node are its sandboxes', and are idle while it computes.
        orders = max(self._options.concurrency, 2 * self._options.batch_size)
        arguments = (self._model, self._options.model_dump_json(), self._provider)
        gpus = 1 if place.gpus and self._options.device != "cpu" else 0
        actor, facts = await rays.start_actor(NodeModel, place, arguments, cpus=0, gpus=gpus, orders=orders + 8)
        identity = facts["info"]["identity"]
        if self._identity is None:
            self._identity = (place.name, identity)
        elif self._identity[1] != identity:
            raise PrerequisiteMissing(
                f"{place.name} has another model than {self._identity[0]} by the same name",
                "put the same files on every node",
            )
        return rays.RayNode(place.name, actor, facts, orders)


class ClusterBackend:
    """Replicas of one model. See `mellum_eval.backends.base.Backend`; `open` it."""

    def __init__(self, spread: Spread, nodes: rays.RayNodes) -> None:
        self._spread, self._nodes = spread, nodes
        self._info: BackendInfo | None = None

    @classmethod
    async def open(
        cls, address: str, model: str, options: BackendOptions, *, provider: str = "", start_s: float = START_S
    ) -> ClusterBackend:
        """Connect, and wait for the first replica; others join when they are loaded.

        Args:
            address: Of the cluster; `auto` for the one that this machine is part of.
            model: SCHEME:NAME, as every node can open it.
            options: How each replica is driven.
            provider: `module:function` called on the node first, for schemes of other rooms.
            start_s: Seconds until the first replica must be there.

        Raises:
            PrerequisiteMissing: There is no Ray, no cluster, or no node that can open the model.
        """
        spread = Spread()
        starter = _ReplicaStarter(model, options, provider)
        nodes = rays.RayNodes(spread, starter, by_gpu=options.device != "cpu")
        backend = cls(spread, nodes)
        await nodes.begin(address)
        try:
            first = await nodes.first(start_s, (f"no node of the Ray cluster at {address} has a CPU", "add a node"))
        except BaseException:
            await nodes.close()
            raise
        backend._info = BackendInfo(**first.facts["info"])
        return backend

    @property
    def info(self) -> BackendInfo:
        """What the replicas are."""
        if self._info is None:
            raise RuntimeError("the backend is not open")
        return self._info

    @property
    def answered(self) -> dict[str, int]:
        """Requests answered, by node."""
        return dict(self._spread.done)

    def generate(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        """Complete prompts; what a lost node had is asked for again elsewhere."""
        return concurrently(requests, self._width(), lambda request: self._ask(request, ranked=False))

    def loglikelihood(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        """Rank choices, in the same way."""
        return concurrently(requests, self._width(), lambda request: self._ask(request, ranked=True))

    def _width(self) -> int:
        return sum(node.places for node in self._nodes.open) + AHEAD

    async def _ask(self, request: Request, *, ranked: bool) -> Completion | Failure:
        try:
            reply = await self._spread.do(wire.request_text(request, ranked=ranked))
        except NoNodeLeft as error:
            raise PrerequisiteMissing(str(error), "start the nodes again, and continue with --resume") from None
        except SandboxError as error:
            return Failure(str(error))
        return wire.reply_of(reply)

    async def aclose(self) -> None:
        """End the replicas, and the connection if it was made here."""
        await self._nodes.close()
