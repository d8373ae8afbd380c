"""A node's end of a model: a process that has one replica open and answers requests. Ray makes it an actor."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mellum_eval import __version__

if TYPE_CHECKING:
    from mellum_eval.backends.base import Backend, Completion, Failure, Request


class NodeModel:
    """One replica of a model. Takes and gives text; its own failures are replies too, so no exception is unpickled."""

    def __init__(self, model: str, options: str, provider: str) -> None:
        """Opens nothing yet.

        Args:
            model: SCHEME:NAME.
            options: `BackendOptions` as JSON.
            provider: `module:function` that provides the schemes which this package may not import, or nothing.
        """
        self._model, self._options, self._provider = model, options, provider
        self._backend: Backend | None = None
        self._feeds: dict[bool, _Feed] = {}

    async def open(self) -> str:
        """Load the model: `{"version", "info"}`, or `{"version", "error", "mend"}`."""
        from mellum_eval.backends.registry import open_backend
        from mellum_eval.errors import PrerequisiteMissing, UserError
        from mellum_eval.spec import BackendOptions

        facts: dict[str, Any] = {"version": __version__}
        try:
            if self._provider:
                module, _, function = self._provider.partition(":")
                getattr(importlib.import_module(module), function)()
            self._backend = await open_backend(self._model, BackendOptions.model_validate_json(self._options))
        except PrerequisiteMissing as missing:
            return json.dumps({**facts, "error": missing.what, "mend": missing.mend})
        except UserError as error:
            return json.dumps(
                {**facts, "error": str(error), "mend": "the node must see the model as this machine does"}
            )
        return json.dumps({**facts, "info": asdict(self._backend.info)})

    async def do(self, order: str) -> str:
        """Answer a request: a completion, a failure, or `{"gone", "mend"}` where the model went away for good."""
        from mellum_eval.cluster import wire
        from mellum_eval.errors import PrerequisiteMissing

        if self._backend is None:
            return json.dumps({"failure": "the node's model is not open"})
        ranked, request = wire.request_of(order)
        feed = self._feeds.get(ranked)
        if feed is None or feed.over:
            feed = self._feeds[ranked] = _Feed(self._backend, ranked)
        try:
            return wire.reply_text(await feed.ask(request))
        except PrerequisiteMissing as missing:
            return json.dumps({"gone": missing.what, "mend": missing.mend})
        except Exception as error:  # a defect of ours on that node: no completion, and no exception to unpickle
            return json.dumps({"failure": f"{type(error).__name__} on the node: {error}"[:500]})

    async def close(self) -> None:
        """Let go of the model."""
        for feed in self._feeds.values():
            await feed.close()
        if self._backend is not None:
            backend, self._backend = self._backend, None
            await backend.aclose()


class _Feed:
    """Requests that come one by one, as the stream that a backend wants: it batches those that are there together."""

    def __init__(self, backend: Backend, ranked: bool) -> None:
        self._queue: asyncio.Queue[Request] = asyncio.Queue()
        self._waiting: dict[tuple[str, int, int], list[asyncio.Future[Completion | Failure]]] = {}
        self._pump = asyncio.create_task(self._run(backend, ranked))

    @property
    def over(self) -> bool:
        """Whether the backend has ended, so that another stream is wanted."""
        return self._pump.done()

    async def ask(self, request: Request) -> Completion | Failure:
        """The reply to a request; raises what ended the backend."""
        future: asyncio.Future[Completion | Failure] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(_slot(request), [])
        waiting.append(future)
        if len(waiting) == 1:  # the same question twice is answered once
            self._queue.put_nowait(request)
        return await future

    async def _run(self, backend: Backend, ranked: bool) -> None:
        stream = (backend.loglikelihood if ranked else backend.generate)(self._requests())
        try:
            async for request, reply in stream:
                for future in self._waiting.pop(_slot(request), ()):
                    if not future.done():
                        future.set_result(reply)
        except Exception as error:
            for futures in self._waiting.values():
                for future in futures:
                    if not future.done():
                        future.set_exception(error)
            self._waiting.clear()
        finally:
            await stream.aclose()

    async def _requests(self) -> AsyncIterator[Request]:
        while True:
            yield await self._queue.get()

    async def close(self) -> None:
        """Ask for no more."""
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)


def _slot(request: Request) -> tuple[str, int, int]:
    return request.key, request.sample, request.turn
