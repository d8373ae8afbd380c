"""Who is let in, how much they may send, and how much is taken on at once."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import json
from collections.abc import Awaitable, Iterator
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from mellum_eval.service.settings import Refused, Settings

T = TypeVar("T")
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Disconnected(Exception):
    """The client went away while its job ran; nobody reads an answer."""


def admit(request: Request, settings: Settings) -> None:
    """Check who asks.

    Raises:
        Refused: No token, or a wrong one; or, where none is wanted, a request that a foreign web page may have made.
    """
    if settings.token is None:
        host = request.headers.get("host", "")
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if name.strip("[]").lower() not in LOOPBACK:
            # A web page can have a name of its own resolve to this machine, and then post here as its own origin.
            raise Refused(403, f"without a token only loopback hosts are answered, not {host[:100]!r}", field="Host")
        return
    if not hmac.compare_digest(_shown_token(request), settings.token.encode()):
        raise Refused(401, "a bearer token is required, and this is none or a wrong one", field="Authorization")


def _shown_token(request: Request) -> bytes:
    """The token of `Bearer TOKEN`, or the password of Basic: clients that only know a URL can carry that in it."""
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip().encode("utf-8", "surrogateescape")
    if scheme.lower() == "basic":
        with contextlib.suppress(binascii.Error, ValueError):
            return base64.b64decode(rest.strip(), validate=True).partition(b":")[2]
    return b""


async def body_of(request: Request, settings: Settings) -> Any:
    """The JSON value in a request.

    Raises:
        Refused: It is not JSON, too long, or too slow in coming.
        Disconnected: It never came to an end.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # Nor may a web page post here: other types need no permission of ours in a browser.
        raise Refused(415, "application/json is wanted", field="Content-Type")
    limit = settings.max_body_mb << 20
    too_long = Refused(413, f"the body is longer than {settings.max_body_mb} MiB")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise too_long
    body = bytearray()
    try:
        async with asyncio.timeout(settings.body_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise too_long
    except TimeoutError:
        raise Refused(408, f"the body did not come within {settings.body_s:g} s") from None
    except ClientDisconnect:
        raise Disconnected from None
    try:
        return json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Refused(400, f"the body is not UTF-8 (byte {error.start})") from None
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON: {str(error)[:200]}") from None


class Queue:
    """Counts jobs; the sandbox's pool does the waiting in line."""

    def __init__(self, settings: Settings) -> None:
        self.size = settings.queue
        self.held = 0
        self.draining = False

    @contextlib.contextmanager
    def places(self, count: int, *, full: int = 429) -> Iterator[None]:
        """Hold places for so many jobs.

        Args:
            count: Jobs of this request.
            full: HTTP status where there is no room.

        Raises:
            Refused: There is no room now, or never will be.
        """
        if count > self.size:
            raise Refused(413, f"{count} jobs in one request; at most {self.size} are taken")
        if self.draining:
            raise Refused(503, "the service is shutting down", retry_s=5)
        if self.held + count > self.size:
            raise Refused(full, f"the queue is full ({self.held} of {self.size} jobs)", retry_s=1)
        self.held += count
        try:
            yield
        finally:
            self.held -= count


async def unless_disconnected(request: Request, work: Awaitable[T]) -> T:
    """Await work, but cancel it when the client goes away.

    Raises:
        Disconnected: It went.
    """
    doing = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise Disconnected
        return doing.result()
    finally:
        for task in (doing, gone):
            task.cancel()
        await asyncio.gather(doing, gone, return_exceptions=True)


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
