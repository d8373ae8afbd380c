"""An HTTP server that answers as scripted, or misbehaves as scripted: no framework would let it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any


class Unruly:
    """`script(path, body, number)` returns (status, payload[, headers]), raw bytes, "reset", "hang" or "drip".

    ("late", seconds, any of these) takes its time first.
    """

    def __init__(self, script: Callable[[str, dict[str, Any], int], Any]) -> None:
        self.script = script
        self.seen: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.running = self.most = 0
        self.busy_s = 0.002
        self.url = ""
        self.tasks: set[asyncio.Task[Any]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:])}
        path = head[0].split(" ")[1]
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
        if not path.endswith("/models"):
            self.seen.append((path, body, headers))
        self.running += 1
        self.most = max(self.most, self.running)
        number = len(self.seen) - 1
        action = self.script(path, body, number)
        await asyncio.sleep(self.busy_s)
        self.running -= 1
        if action[0] == "late" and isinstance(action, tuple):
            await asyncio.sleep(action[1])
            action = action[2]
        if action == "reset":
            writer.transport.abort()
            return False
        if action == "hang":
            await asyncio.sleep(30)
        if action == "drip":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
            for _ in range(600):
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)
            return False
        if isinstance(action, bytes):
            writer.write(action)
            await writer.drain()
            return False
        status, payload, *more = action
        text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(text)}", "content-type: application/json"]
        lines += [f"{k}: {v}" for k, v in (more[0] if more else {}).items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + text)
        await writer.drain()
        return True


@asynccontextmanager
async def unruly(script: Callable[[str, dict[str, Any], int], Any]) -> AsyncIterator[Unruly]:
    """The server, listening on a port of its own."""
    server = Unruly(script)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        for task in server.tasks:
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)


def chat(text: str | None, **message: Any) -> dict[str, Any]:
    """A chat reply."""
    fields = {"finish_reason": message.pop("finish_reason", "stop")}
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 3}}
    return {"choices": [{"message": {"role": "assistant", "content": text, **message}, **fields}], "usage": usage}
