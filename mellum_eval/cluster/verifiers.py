"""`Verifiers` of a whole cluster: the same calls, the same verdicts, more machines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mellum_eval.cluster import rays, wire
from mellum_eval.cluster.pools import PoolStarter
from mellum_eval.cluster.spread import Spread
from mellum_eval.errors import PrerequisiteMissing
from sandboxes.check import Answer, Check
from sandboxes.errors import SandboxError, SandboxUnavailable
from sandboxes.verdict import Verdict, infra_error

if TYPE_CHECKING:
    from mellum_eval.service.fusion import RunCodeRequest, RunCodeResponse

START_S = 120.0
"""How long the first pool may take: images are there, CPUs may be taken by others."""


def _silent(line: str) -> None:
    pass


class ClusterVerifiers:
    """Verifiers on every node of a Ray cluster. An async context manager; see `sandboxes.verify.Verifiers`."""

    def __init__(
        self,
        address: str,
        choice: str = "auto",
        workers: int | None = None,
        *,
        say: Callable[[str], None] = _silent,
        start_s: float = START_S,
    ) -> None:
        """Starts nothing: the first judgement does, or `ready`.

        Args:
            address: Of the cluster; `auto` for the one this machine, or this process, is part of.
            choice: Which sandbox the nodes use.
            workers: Workers a node; all CPUs that Ray knows of there, if not given.
            say: Takes lines for the user.
            start_s: Seconds until the first pool must be there.
        """
        self._address = address
        self._start_s = start_s
        self._spread = Spread()
        self._nodes = rays.RayNodes(self._spread, PoolStarter(choice, workers, say))
        self._texts = wire.CheckTexts()
        self._starting = asyncio.Lock()

    @property
    def workers(self) -> int:
        """Workers on all nodes that are there now."""
        return sum(int(node.facts["workers"]) for node in self._nodes.open)

    @property
    def engine(self) -> str:
        """`docker`, `local`, or `none` where there is no node."""
        return next((str(node.facts["engine"]) for node in self._nodes.open), "none")

    @property
    def judged(self) -> dict[str, int]:
        """Jobs done, by node."""
        return dict(self._spread.done)

    def describe(self) -> dict[str, Any]:
        """For the run's manifest."""
        return {"ray": {node.name: node.facts["describe"] for node in self._nodes.open}, "workers": self.workers}

    async def ready(self) -> ClusterVerifiers:
        """Connect and wait for the first node's pool.

        Raises:
            PrerequisiteMissing: There is no Ray, or no cluster.
            SandboxUnavailable: No node can have a pool; says how to mend that.
        """
        async with self._starting:
            if not self._nodes.begun:
                await self._nodes.begin(self._address)
                nobody = f"no node of the Ray cluster at {self._address} had the CPUs for a pool free"
                try:
                    await self._nodes.first(self._start_s, (nobody, "give fewer --workers"))
                except PrerequisiteMissing as missing:
                    await self._nodes.close()
                    raise SandboxUnavailable(missing.what, missing.mend) from None
        return self

    async def verify(self, check: Check, answer: Answer) -> Verdict:
        """Judge one answer on some node; on another one where that is lost.

        Raises:
            PrerequisiteMissing, SandboxUnavailable: See `ready`.
        """
        await self.ready()
        try:
            text = await self._do(wire.verify_order(self._texts(check), answer))
        except SandboxError as error:
            return infra_error(str(error))
        except ValueError as error:
            return infra_error(f"the check is malformed: {error}")
        return wire.verdict_of(text)

    async def verify_twice(self, check: Check, answer: Answer) -> Verdict:
        """`verify`, and once more where it could not be judged; perhaps elsewhere."""
        verdict = await self.verify(check, answer)
        return await self.verify(check, answer) if verdict.passed is None else verdict

    async def run_code(self, request: RunCodeRequest) -> RunCodeResponse:
        """Run a program on some node, for `/run_code`; never raises for what it is or does."""
        from mellum_eval.service.fusion import RunCodeResponse

        try:
            await self.ready()
            return RunCodeResponse.model_validate_json(
                await self._do(json.dumps({"do": "run_code", "request": request.model_dump()}))
            )
        except SandboxError as error:
            return RunCodeResponse(status="SandboxError", message=str(error))

    async def healthy(self) -> bool:
        """Whether a known-good job works on some node now."""
        try:
            return bool(json.loads(await self._do(json.dumps({"do": "healthy"}))))
        except SandboxError:
            return False

    async def _do(self, order: str) -> str:
        reply = await self._spread.do(order)
        if reply.startswith('{"error"'):
            raise SandboxError(str(json.loads(reply)["error"]))
        return reply

    async def close(self) -> None:
        """End the pools, and the connection if it was made here."""
        await self._nodes.close()

    async def __aenter__(self) -> ClusterVerifiers:
        """Nothing to do yet."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close."""
        await asyncio.shield(self.close())
