"""A node's end: a process that owns the node's pool of sandboxes and carries out orders. Ray makes it an actor."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mellum_eval import __version__

if TYPE_CHECKING:
    from mellum_eval.service.fusion import Runner
    from sandboxes.pool import SandboxPool
    from sandboxes.verify import Verifiers


class NodePool:
    """One sandbox pool. Takes and gives text; its own failures are replies too, so that no exception is unpickled."""

    def __init__(self, choice: str, workers: int) -> None:
        self._choice = choice
        self._workers = workers
        self._pool: SandboxPool | None = None
        self._verifiers: Verifiers | None = None
        self._runner: Runner | None = None

    async def open(self) -> str:
        """Open the pool: `{"version", "engine", "workers", "notice"}`, or `{"version", "error", "mend"}`."""
        from sandboxes.choose import open_sandbox
        from sandboxes.errors import SandboxError, SandboxUnavailable
        from sandboxes.verify import Verifiers

        facts: dict[str, Any] = {"version": __version__}
        try:
            self._pool = await open_sandbox(self._choice, self._workers)  # type: ignore[arg-type]
        except SandboxUnavailable as missing:
            return json.dumps({**facts, "error": missing.what, "mend": missing.mend})
        except SandboxError as error:
            return json.dumps({**facts, "error": str(error), "mend": "see `mellum-eval sandbox status` there"})
        self._verifiers = Verifiers(sandbox=self._pool)
        facts |= {"engine": self._pool.engine, "workers": self._pool.workers, "notice": self._pool.notice}
        return json.dumps({**facts, "describe": dict(self._pool.describe())}, default=str)

    async def do(self, order: str) -> str:
        """Carry out an order: a verdict's text, SandboxFusion's reply, or `{"error"}` for a failure of ours."""
        from mellum_eval.cluster import wire
        from sandboxes.errors import SandboxError

        if self._pool is None or self._verifiers is None:
            return json.dumps({"error": "the node's sandbox is not open"})
        wanted = json.loads(order)
        try:
            match wanted["do"]:
                case "verify":
                    verdict = await self._verifiers.verify(wire.check_of(wanted["check"]), wanted["answer"])
                    return wire.verdict_text(verdict)
                case "run_code":
                    from mellum_eval.service import fusion

                    request = fusion.RunCodeRequest.model_validate(wanted["request"])
                    self._runner = self._runner or fusion.Runner(self._pool)
                    return json.dumps((await self._runner.run(request)).model_dump())
                case "healthy":
                    return json.dumps(await self._pool.healthy())
        except SandboxError as error:
            return json.dumps({"error": str(error)})
        except Exception as error:  # a defect of ours on that node: no verdict, and no exception to unpickle
            return json.dumps({"error": f"{type(error).__name__} on the node: {error}"[:500]})
        return json.dumps({"error": f"no such order: {wanted['do']!r}"})

    async def close(self) -> None:
        """Stop the workers and remove what they left."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.close()
