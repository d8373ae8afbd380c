"""HTTP to a model server that may misbehave: pacing, retries, and what each failure means.

A request is tried again after 429 (as Retry-After says), 5xx, a disconnect, a timeout, a stream that broke off and a
reply that is no reply.
"""

from __future__ import annotations

import asyncio
import email.utils
import os
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import httpx

from mellum_eval.backends import openai_wire as wire
from mellum_eval.backends.openai_stream import Collected
from mellum_eval.backends.pacing import Pace
from mellum_eval.errors import PrerequisiteMissing, UserError
from mellum_eval.manifest import redacted
from mellum_eval.spec import BackendOptions

DEFAULT_URL = "https://api.openai.com/v1"
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
OVERLOADED = (429, 503, 529)

_T = TypeVar("_T")


class Retry(Exception):
    """Worth another try, after `pause_s` if the server said so."""

    def __init__(
        self, what: str, pause_s: float | None = None, *, gone: bool = False, overloaded: bool = False
    ) -> None:
        super().__init__(what)
        self.pause_s = pause_s
        self.gone = gone
        self.overloaded = overloaded


class Refused(Exception):
    """400 and the like: the same request will not be taken later either."""


class Endpoint:
    """One server's address, the connections to it, and how fast it may be asked."""

    def __init__(
        self, model: str, url: str, options: BackendOptions, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """No connection yet.

        Args:
            model: What it is asked for, for messages.
            url: With the version's path, such as `http://host:8000/v1`.
            options: Concurrency, timeouts, where the key is.
            transport: Another way there than TCP.
        """
        self.shown = str(redacted(url))
        self.served: list[dict[str, Any]] = []
        self.server: str | None = None
        self.pace = Pace(options.concurrency)
        self._model, self._url, self._options = model, url, options
        key = os.environ.get(options.api_key_env)
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            # Connecting and queueing count against the reply's time: a burst of connections is no failure.
            timeout=httpx.Timeout(options.timeout_s, pool=None),
            limits=httpx.Limits(max_connections=options.concurrency, max_keepalive_connections=options.concurrency),
            transport=transport,
        )
        self._tokens_field = "max_tokens"

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def with_retries(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """What `attempt` gives, tried again as often as the options say.

        Raises:
            Retry: It failed every time; the last failure.
            Refused: It will not be taken.
        """
        for number in range(self._options.retries + 1):
            entered = await self.pace.enter()
            try:
                result = await attempt()
            except (wire.BadReply, Retry) as failure:
                last = failure if isinstance(failure, Retry) else Retry(str(failure))
                if last.overloaded:
                    self.pace.overloaded(entered, last.pause_s)
            else:
                self.pace.succeeded()
                return result
            finally:
                self.pace.leave()
            if number == self._options.retries:
                raise last
            pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**number * (0.5 + random.random()))
            await asyncio.sleep(last.pause_s if last.pause_s is not None and not last.overloaded else pause)
        raise Retry("no try was allowed")

    async def post(self, path: str, fields: Mapping[str, Any]) -> Any:
        """One try: the reply's JSON; a stream's is put together.

        Args:
            path: Behind the version's path; an absolute one (`/tokenize`) from the host.
            fields: The request's JSON.

        Raises:
            Retry, Refused, wire.BadReply: No reply.
            PrerequisiteMissing: The key is refused.
            UserError: There is no such model.
        """
        if self._tokens_field != "max_tokens" and "max_tokens" in fields:
            fields = {self._tokens_field if name == "max_tokens" else name: value for name, value in fields.items()}
        try:
            # httpx's timeout is between bytes; a server that drips must not hold a slot for ever.
            async with asyncio.timeout(self._options.timeout_s):
                response, collected = await self._sent(path, fields)
        except TimeoutError:
            raise Retry(f"no reply within {self._options.timeout_s:g} s", overloaded=True) from None
        except httpx.TimeoutException as error:
            message = f"no reply within {self._options.timeout_s:g} s ({type(error).__name__})"
            raise Retry(message, overloaded=True) from None
        except httpx.ConnectError as error:
            raise Retry(f"no connection ({error})", gone=True) from None
        except httpx.TransportError as error:
            raise Retry(f"the connection broke ({type(error).__name__})") from None
        if response.status_code == 200:
            return collected.reply() if collected else _json(response, wire.BadReply("the reply is not JSON"))
        said = wire.error_message(_json(response, None), response.text)
        message = f"HTTP {response.status_code}: {said}"
        if response.status_code in (408, 409, 425, 429) or response.status_code >= 500:
            raise Retry(message, _retry_after(response), overloaded=response.status_code in OVERLOADED)
        self._check_access(response.status_code)
        if "max_completion_tokens" in message and self._tokens_field == "max_tokens" and "max_tokens" in fields:
            self._tokens_field = "max_completion_tokens"
            return await self.post(path, fields)
        if response.status_code == 404 and not path.startswith("/"):
            names = [entry["id"] for entry in self.served[:5]]
            serves = f"it serves {', '.join(names)}" if names else "check model and address"
            raise UserError(f"{self.shown} has no {self._model} under {path} ({message}); {serves}")
        raise Refused(message)

    async def _sent(self, path: str, fields: Mapping[str, Any]) -> tuple[httpx.Response, Collected | None]:
        url = f"{self._url}/{path}" if not path.startswith("/") else self.absolute(path)
        if not fields.get("stream"):
            return await self._client.post(url, json=fields), None
        async with self._client.stream("POST", url, json=fields) as response:
            if response.status_code != 200 or "event-stream" not in response.headers.get("content-type", ""):
                await response.aread()  # refused, or a server that answers whole whatever it is asked
                return response, None
            collected = Collected()
            async for line in response.aiter_lines():
                collected.add(line)
            return response, collected

    def absolute(self, path: str) -> str:
        """The address of what lies beside the version's path: vLLM's /tokenize, /health, /version."""
        return re.sub(r"/v\d+$", "", self._url) + path

    async def get(self, path: str, timeout_s: float) -> httpx.Response:
        """One look, without retries.

        Raises:
            httpx.HTTPError: It does not answer.
        """
        return await self._client.get(
            self.absolute(path) if path.startswith("/") else f"{self._url}/{path}", timeout=timeout_s
        )

    async def greet(self) -> None:
        """Ask what is served. Only silence and a refused key are held against it: some servers cannot list.

        Raises:
            PrerequisiteMissing: It does not answer, or wants another key.
            UserError: The address is none.
        """
        for pause in (0.3, 1.0, None):
            try:
                response = await self.get("models", min(30.0, self._options.timeout_s))
                break
            except httpx.TransportError as error:
                if pause is None:
                    raise PrerequisiteMissing(
                        f"{self.shown} does not answer ({str(error) or type(error).__name__})",
                        "start the server, or mend the address after @",
                    ) from None
                await asyncio.sleep(pause)
            except httpx.InvalidURL as error:
                raise UserError(f"{self.shown} is no address ({error})") from None
        self._check_access(response.status_code)
        listing = _json(response, None) if response.status_code == 200 else None
        data = listing.get("data") if isinstance(listing, dict) else None
        for entry in data if isinstance(data, list) else []:
            if isinstance(entry, dict) and isinstance(entry.get("id"), str):
                self.served.append(entry)
        self.server = response.headers.get("server")

    def _check_access(self, status: int) -> None:
        if status in (401, 403):
            name = self._options.api_key_env
            problem = f"refuses the key in {name}" if os.environ.get(name) else "wants a key"
            raise PrerequisiteMissing(f"{self.shown} {problem} (HTTP {status})", f"export {name}=... with a valid key")


def split_address(rest: str) -> tuple[str, str]:
    """`MODEL@URL` in two; a bare host gets `/v1`, as servers have it.

    Raises:
        UserError: No model, or the URL is none.
    """
    found = re.search(r"@(?=https?://)", rest)
    model = rest[: found.start()] if found else rest
    url = rest[found.end() :] if found else os.environ.get("OPENAI_BASE_URL", DEFAULT_URL)
    if not model or (not found and re.search(r"@[\w.-]+(:\d+)?(/|$)", rest)):
        raise UserError(f"openai:{rest}: write openai:MODEL@URL with http:// or https:// before the host")
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise UserError(f"openai:{rest}: {url} is no address ({error})") from None
    if not parsed.host:
        raise UserError(f"openai:{rest}: {url} has no host")
    return model, url.rstrip("/") + ("/v1" if parsed.path in ("", "/") else "")


def _json(response: httpx.Response, otherwise: Exception | None) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError):
        if otherwise is not None:
            raise otherwise from None
        return None


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds that the server asks for: a number, or a date."""
    value = response.headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
