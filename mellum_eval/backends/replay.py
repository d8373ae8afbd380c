"""The generations of an earlier run, as if its model answered again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

from mellum_eval.backends.base import BackendInfo, Completion, Failure, Reply, Request, concurrently
from mellum_eval.records import Generation
from mellum_eval.store import RunStore


class ReplayBackend:
    """Answers from a run directory, found by the hash of what is asked: other prompts or sampling find nothing."""

    def __init__(self, path: Path) -> None:
        """Read the run.

        Raises:
            UserError: There is none, or it was altered.
        """
        store = RunStore.open(path)
        self.manifest = store.manifest
        self.counted = frozenset(record.name for record in self.manifest.suites if record.tokens_by == "tokenizer")
        """Suites whose prompts were made to lengths in the replayed model's own tokens."""
        self._generations: dict[tuple[str, int], Generation] = {(g.key, g.sample): g for g in store.generations()}
        model = self.manifest.model
        self._info = BackendInfo(
            name=str(model.get("name", path.name)),
            chat=bool(model.get("chat", True)),
            identity={**model, "replayed_from": str(path)},
        )

    @property
    def info(self) -> BackendInfo:
        """What the replayed model was."""
        return self._info

    def generate(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        """The stored completions."""
        return concurrently(requests, 1, self._answer)

    def loglikelihood(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        """The stored choices."""
        return concurrently(requests, 1, self._answer)

    async def aclose(self) -> None:
        """Nothing to let go of."""

    async def _answer(self, request: Request) -> Completion | Failure:
        await asyncio.sleep(0)
        found = self._generations.get((request.key, request.sample))
        if found is None:
            return Failure("the replayed run has no such completion (another prompt, sampling, limit or suite version)")
        if found.finish == "error":
            return Failure(found.error or "the replayed run has an error here")
        if request.turn and request.turn >= len(found.turns):
            return Failure(f"the replayed conversation ended before turn {request.turn + 1}")
        said = found.turns[request.turn] if found.turns else found
        return Completion(
            text=said.text,
            reasoning=said.reasoning,
            tool_calls=said.tool_calls,
            finish=said.finish,
            tokens=said.tokens,
            latency_s=said.latency_s,
            loglikelihoods=found.loglikelihoods,
            greedy=found.greedy,
        )
