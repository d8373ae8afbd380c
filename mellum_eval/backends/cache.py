"""Completions kept for other runs (`--cache DIR`), by all that was asked: of whom, what, and how to draw.

A key is a hash of the model's identity, the options that reach it, the rendered prompt and the sampling with its seed,
so a second sample is another entry. Only completions are kept, never a failure. One SQLite file in a directory may be
shared by processes of one machine; the first writer of a key wins.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mellum_eval import jsonl
from mellum_eval.backends.base import Backend, BackendInfo, Completion, CountsTokens, Reply, Request
from mellum_eval.errors import UserError
from mellum_eval.plan import prompt_record
from mellum_eval.spec import BackendOptions

BUSY_S = 60.0
AHEAD = 16
_OF_THE_WAY = frozenset(
    {
        *("concurrency", "batch_size", "device", "timeout_s", "retries", "api_key_env", "stream", "cache", "context"),
        *("vllm_python", "start_timeout_s", "trust_remote_code"),
    }
)
"""Options that change how a model is reached, not what it says."""


class CachedBackend:
    """A backend whose answers are looked up first."""

    def __init__(self, inner: Backend, directory: Path, options: BackendOptions) -> None:
        """Open the cache.

        Args:
            inner: Answers what is not in it.
            directory: Where it is; made if it is not there.
            options: How `inner` is driven.

        Raises:
            UserError: It cannot be written, or is no cache.
        """
        self._inner = inner
        chosen = {name: value for name, value in options.model_dump(mode="json").items() if name not in _OF_THE_WAY}
        self._who: dict[str, Any] = {"identity": dict(inner.info.identity), "chat": inner.info.chat, "options": chosen}
        try:
            directory.mkdir(parents=True, exist_ok=True)
            # Each statement is its own transaction; the journal lets others read meanwhile.
            self._db = sqlite3.connect(directory / "completions.sqlite", timeout=BUSY_S, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("CREATE TABLE IF NOT EXISTS completions (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"--cache: {directory}: {error}") from None
        self.hits = 0

    @property
    def info(self) -> BackendInfo:
        """That of the backend within."""
        return self._inner.info

    async def count_tokens(self, text: str) -> int | None:
        """By the backend within, if it can."""
        return await self._inner.count_tokens(text) if isinstance(self._inner, CountsTokens) else None

    def generate(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        """Completions that are known, and those that are not."""
        return self._through(requests, self._inner.generate, "generate")

    def loglikelihood(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        """Rankings that are known, and those that are not."""
        return self._through(requests, self._inner.loglikelihood, "loglikelihood")

    async def aclose(self) -> None:
        """Close both."""
        self._db.close()
        await self._inner.aclose()

    async def _through(
        self,
        requests: AsyncIterator[Request],
        ask: Callable[[AsyncIterator[Request]], AsyncGenerator[Reply, None]],
        how: str,
    ) -> AsyncGenerator[Reply, None]:
        replies: asyncio.Queue[Reply | None] = asyncio.Queue(AHEAD)

        async def unknown() -> AsyncIterator[Request]:
            async for request in requests:
                known = self._get(request, how)
                if known is None:
                    yield request
                else:
                    self.hits += 1
                    await replies.put((request, known))

        async def work() -> None:
            stream = ask(unknown())
            try:
                async for request, reply in stream:
                    if isinstance(reply, Completion):
                        self._put(request, how, reply)
                    await replies.put((request, reply))
            finally:
                await stream.aclose()
            await replies.put(None)

        task = asyncio.create_task(work())
        try:
            while True:
                fetch = asyncio.create_task(replies.get())
                await asyncio.wait((fetch, task), return_when=asyncio.FIRST_COMPLETED)
                if not fetch.done():
                    if replies.empty():
                        fetch.cancel()
                        task.result()  # raises what ended it
                        return
                    await fetch
                found = fetch.result()
                if found is None:
                    await task
                    return
                yield found
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _key(self, request: Request, how: str) -> str:
        drawn = {name: value for name, value in asdict(request.sampling).items() if name != "samples"}
        asked: list[Any] = [how, self._who, prompt_record(request.prompt), drawn]
        # Mock models answer with the gold, so it is part of what they were asked.
        if self._who["identity"].get("scheme") == "mock":
            asked.append([request.problem, request.sample, request.gold])
        return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()

    def _get(self, request: Request, how: str) -> Completion | None:
        row = self._db.execute("SELECT value FROM completions WHERE key = ?", (self._key(request, how),)).fetchone()
        if row is None:
            return None
        value: dict[str, Any] = json.loads(row[0])
        for name in ("tool_calls", "loglikelihoods", "greedy"):
            value[name] = tuple(value.get(name, ()))  # JSON has no tuples, and earlier versions fewer fields
        return Completion(**value)

    def _put(self, request: Request, how: str, completion: Completion) -> None:
        value = jsonl.dumps(asdict(completion))
        try:
            self._db.execute("INSERT OR IGNORE INTO completions VALUES (?, ?)", (self._key(request, how), value))
        except sqlite3.Error as error:
            raise UserError(f"--cache: {error}; mend that, or leave --cache out, and continue with --resume") from None
