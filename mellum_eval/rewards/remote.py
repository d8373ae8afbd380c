"""The verifiers of a service (`mellum-eval serve`), on this machine or another: the same calls, the same verdicts.

A service that is away costs time only: every request is tried again, with growing pauses, for as long as the service
is not silent for longer than the patience given. It is told only of checks and answers, and believed only where its
reply is a verdict. Jobs that wait at the same time share a request; one whose request broke goes alone from then on,
so that none pays for its neighbours.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx

from mellum_eval import __version__
from mellum_eval.cluster.wire import CheckTexts
from mellum_eval.rewards.batching import Batcher
from sandboxes.check import CODE_KINDS, Answer, Check
from sandboxes.errors import SandboxUnavailable
from sandboxes.verdict import Verdict, infra_error

log = logging.getLogger(__name__)

TOKEN = "MELLUM_TOKEN"
"""The environment variable that both the service and its clients read."""
START_S = 30.0
"""How long a service that was never heard of may be silent: more likely the address is wrong."""
CONNECTIONS = 64
JOBS = 4
"""In one request at most: with all connections, half of what a service takes on by default; others may want in."""
IDLE_S = 25.0
"""How long a connection is kept: from one training step to the next, and not until the service ends it, after 30 s."""
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 10.0
BROKEN_TRIES = 8
"""Replies to one answer that may break off: then it is not the machines, and others must not wait for it for ever."""
REPLY_S = 900.0
"""Longest silence on all connections, while a request is out; a machine that is gone shows sooner."""
_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


class _Away(Exception):
    """No verdict, but another try may bring one.

    `broken` says that the service had begun, `busy` that it is there and has asked for patience.
    """

    def __init__(self, what: str, *, broken: bool = False, busy_s: float | None = None) -> None:
        super().__init__(what)
        self.broken, self.busy_s = broken, busy_s


class _NotTaken(Exception):
    """The service does not take such a request, now or later."""


class RemoteVerifiers:
    """Judges by a service; see `sandboxes.verify.Judges`."""

    def __init__(self, url: str, patience_s: float, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """No connection yet.

        Args:
            url: Of the service, such as `http://10.0.0.5:8080`. The token, if it wants one, is in `MELLUM_TOKEN`.
            patience_s: Seconds of silence, once it was heard of, after which it counts as gone.
            transport: Another way there than TCP (tests).
        """
        self._url, self._patience_s = service_url(url), patience_s
        token = os.environ.get(TOKEN)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._transport, self._trusted = transport, httpx.create_ssl_context()
        self._clients: list[httpx.AsyncClient] = []
        self._idle: list[httpx.AsyncClient] = []
        self._batcher = Batcher(self._posted, requests=CONNECTIONS, items=JOBS)
        self._texts = CheckTexts()
        self._greeting: asyncio.Task[None] | None = None
        self._silent_since: float | None = None
        self._last_reply = time.monotonic()

    async def ready(self) -> RemoteVerifiers:
        """Wait until the service is heard of.

        Raises:
            SandboxUnavailable: Nobody answers there, or something else.
        """
        last = self._greeting
        if last is None or (last.done() and (last.cancelled() or last.exception() is not None)):
            self._greeting = asyncio.ensure_future(self._greet())
        assert self._greeting is not None
        await asyncio.shield(self._greeting)
        return self

    async def verify(self, check: Check, answer: Answer) -> Verdict:
        """Judge one answer there.

        Raises:
            SandboxUnavailable: The service refuses us, or has been silent for too long.
        """
        await self.ready()
        try:
            text = self._texts(check)
        except ValueError as error:
            return infra_error(f"the check is malformed: {error}")
        field = "code" if check.kind in CODE_KINDS else "completion"
        job = f'{text[:-1]},"{field}":{json.dumps(answer)}'
        broken, pause, alone = 0, FIRST_PAUSE_S, False
        while True:
            try:
                verdict = await self._batcher(job, alone=alone)
            except _NotTaken as refusal:
                if alone:
                    return infra_error(f"the verifier service took no such job ({refusal})")
                alone = True
            except _Away as away:
                broken += away.broken
                alone = alone or away.broken
                if broken >= BROKEN_TRIES:
                    return infra_error(f"the service broke off {broken} times under this answer ({away})")
                self._heard(away)
                await asyncio.sleep(away.busy_s if away.busy_s is not None else pause * random.uniform(0.5, 1.5))
                pause = min(2 * pause, LONGEST_PAUSE_S)
            else:
                self._silent_since = None
                return verdict

    async def verify_twice(self, check: Check, answer: Answer) -> Verdict:
        """`verify`: the service itself tries once more what could not be judged."""
        return await self.verify(check, answer)

    async def close(self) -> None:
        """End the connections."""
        if self._greeting is not None:
            self._greeting.cancel()
        await self._batcher.close()
        await asyncio.gather(*(client.aclose() for client in self._clients))

    def _heard(self, away: _Away) -> None:
        """Give up where it has been silent for too long."""
        now = time.monotonic()
        if away.busy_s is not None:
            self._silent_since = None
            return
        if self._silent_since is None:
            self._silent_since = now
            log.warning("%s does not judge at the moment (%s)", self._url, away)
        silent = now - self._silent_since
        if silent > self._patience_s:
            raise SandboxUnavailable(
                f"the verifier service at {self._url} has not answered for {silent:.0f} s ({away})", "start it again"
            )

    async def _posted(self, jobs: list[str]) -> list[Verdict | Exception]:
        """One try. The jobs are objects that lack their id and their closing brace."""
        named = [f'{job},"id":"{number}"}}' for number, job in enumerate(jobs)]
        many = len(jobs) > 1
        response = await self._replied(f"[{','.join(named)}]" if many else named[0])
        status, said = response.status_code, _json(response)
        if status == 200 or (status == 422 and not many):
            lines = said if many else [said]
            if not isinstance(lines, list) or len(lines) != len(jobs):
                raise _Away(f"HTTP {status} and no list of {len(jobs)} verdicts", broken=True)
            return [_verdict(line, number) for number, line in enumerate(lines)]
        message = f"HTTP {status}: {_message(said)}"
        if status in (408, 429) or status >= 500:
            wait = response.headers.get("retry-after", "")
            busy_s = max(0.1, float(wait) if wait.isdigit() else 1.0) if status == 429 else None
            raise _Away(message, broken=status not in (429, 502, 503, 504), busy_s=busy_s)
        if status in (401, 403):
            how = f"refuses the token in {TOKEN}" if os.environ.get(TOKEN) else f"wants a token in {TOKEN}"
            raise SandboxUnavailable(f"the verifier service at {self._url} {how}", f"export {TOKEN}=...")
        if status in (400, 413, 415):
            raise _NotTaken(message)
        raise self._other(message)

    async def _replied(self, body: str) -> httpx.Response:
        """The reply to a request, which may wait for as long as others get theirs: it is in the service's queue."""
        with self._connection() as client:
            request = client.post(
                f"{self._url}/verify", content=body.encode(), headers={"Content-Type": "application/json"}
            )
            posting, begun = asyncio.ensure_future(request), time.monotonic()
            try:
                while not posting.done():
                    left = max(begun, self._last_reply) + REPLY_S - time.monotonic()
                    if left <= 0:
                        raise _Away(f"no reply for {REPLY_S:.0f} s", broken=True)
                    await asyncio.wait((posting,), timeout=left)
                response = posting.result()
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                raise _Away(f"no connection: {error}") from None
            except httpx.TransportError as error:
                raise _Away(f"the connection broke: {type(error).__name__}", broken=True) from None
            finally:
                posting.cancel()
        self._last_reply = time.monotonic()
        return response

    @contextmanager
    def _connection(self) -> Iterator[httpx.AsyncClient]:
        """A connection that is used by nobody else; it stays open.

        Each is a client of its own: the pool of one looks at all its connections whenever a request comes or goes,
        which cost as much as judging.
        """
        client = self._idle.pop() if self._idle else self._new_client()
        try:
            yield client
        finally:
            self._idle.append(client)

    def _new_client(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=IDLE_S)
        client = httpx.AsyncClient(
            headers=self._headers,
            timeout=httpx.Timeout(None, connect=10.0),
            transport=self._transport
            or httpx.AsyncHTTPTransport(verify=self._trusted, limits=limits, socket_options=_KEEPALIVE),
        )
        self._clients.append(client)
        return client

    async def _greet(self) -> None:
        """Look at `/health` until something answers."""
        begun, pause = time.monotonic(), FIRST_PAUSE_S
        while True:
            try:
                with self._connection() as client:
                    response = await client.get(f"{self._url}/health", timeout=10.0)
            except httpx.TransportError as error:
                if time.monotonic() - begun > START_S:
                    raise SandboxUnavailable(
                        f"no verifier service answers at {self._url} ({str(error) or type(error).__name__})",
                        "start it with: mellum-eval serve, or mend the address",
                    ) from None
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
                continue
            facts = _json(response)
            if not isinstance(facts, dict) or "version" not in facts:
                raise self._other(f"HTTP {response.status_code} under /health")
            if facts["version"] != __version__:
                log.warning(
                    "the verifier service at %s is mellum-eval %s, not %s", self._url, facts["version"], __version__
                )
            size = facts.get("queue")
            if isinstance(size, int) and size > 0:
                self._batcher.room = min(size, CONNECTIONS * JOBS)
            return

    def _other(self, message: str) -> SandboxUnavailable:
        return SandboxUnavailable(
            f"what answers at {self._url} is no mellum-eval service ({message})", "mend the address"
        )


def service_url(url: str) -> str:
    """A service's address as requests are made from it.

    Raises:
        ValueError: It is none, or holds a secret, which would stand in logs and manifests.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"service: an address such as http://10.0.0.5:8080 is wanted, not {url!r}")
    if parts.username or parts.password:
        raise ValueError(f"service: the token belongs into the environment, as {TOKEN}, not into the address")
    if parts.query or parts.fragment:
        raise ValueError(f"service: an address without ? and # is wanted, not {url!r}")
    return url.rstrip("/")


def _verdict(line: Any, number: int) -> Verdict | _Away:
    """What an answer line says of the job of that number."""
    try:
        if line["id"] != str(number):
            raise ValueError
        verdict = Verdict.from_line(line)
    except (KeyError, TypeError, ValueError):
        return _Away("a reply without a verdict", broken=True)
    # Of a list the service says which one is malformed; that means nothing to who sent one job.
    return replace(verdict, message=verdict.message.removeprefix(f"[{number}].")) if verdict.score is None else verdict


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def _message(said: Any) -> str:
    error = said.get("error") if isinstance(said, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return " ".join(str(message or "no reason given").split())[:200]
