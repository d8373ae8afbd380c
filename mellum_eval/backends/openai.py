"""`openai:MODEL@URL`: any OpenAI-compatible endpoint, chat or plain completions.

A request is tried again after 429 (as Retry-After says), 5xx, a disconnect, a timeout and a reply that is no reply;
then it is a failure, which scores nothing. An endpoint that is gone, or fails whatever it is asked, ends the run
instead: hours of retries and a table of failures help nobody, and the run can be resumed.
"""

from __future__ import annotations

import asyncio
import email.utils
import os
import random
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import httpx

from mellum_eval.backends import openai_wire as wire
from mellum_eval.backends.base import (
    BackendInfo,
    Completion,
    Failure,
    Reply,
    Request,
    best_choice,
    concurrently,
)
from mellum_eval.errors import PrerequisiteMissing, UserError
from mellum_eval.manifest import redacted
from mellum_eval.spec import BackendOptions

DEFAULT_URL = "https://api.openai.com/v1"
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
REFUSALS_TO_GIVE_UP = 3

_T = TypeVar("_T")


class _Retry(Exception):
    """Worth another try, after `pause_s` if the server said so."""

    def __init__(self, what: str, pause_s: float | None = None, *, gone: bool = False) -> None:
        super().__init__(what)
        self.pause_s = pause_s
        self.gone = gone


class _Refused(Exception):
    """400 and the like: the same request will not be taken later either."""


class OpenAIBackend:
    """A client of one endpoint."""

    def __init__(self, model: str, url: str, options: BackendOptions) -> None:
        self._model, self._url, self._options = model, url, options
        self._shown = str(redacted(url))
        key = os.environ.get(options.api_key_env)
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            # Connecting and queueing count against the reply's time: a burst of connections is no failure.
            timeout=httpx.Timeout(options.timeout_s, pool=None),
            limits=httpx.Limits(max_connections=options.concurrency, max_keepalive_connections=options.concurrency),
        )
        self._served: list[str] = []
        self._succeeded = False
        self._refused = self._failed_in_a_row = 0
        self._tokens_field = "max_tokens"
        self._identity: dict[str, Any] = {"scheme": "openai", "name": model, "url": self._shown}

    @classmethod
    async def open(cls, rest: str, options: BackendOptions) -> OpenAIBackend:
        """Reach for the endpoint.

        Args:
            rest: `MODEL@URL`; without a URL, OPENAI_BASE_URL or OpenAI's own.
            options: Concurrency, timeouts, where the key is.

        Raises:
            UserError: The address is none.
            PrerequisiteMissing: It does not answer, or wants another key.
        """
        model, url = split_address(rest)
        backend = cls(model, url, options)
        try:
            await backend._greet()
        except BaseException:
            await backend.aclose()
            raise
        return backend

    @property
    def info(self) -> BackendInfo:
        """What it is, as far as it tells."""
        return BackendInfo(self._model, not self._options.base, self._identity, loglikelihood=self._options.base)

    def generate(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        """Complete prompts, `concurrency` at a time."""
        return concurrently(requests, self._options.concurrency, self._complete)

    def loglikelihood(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        """Rank choices by echoed log-probabilities, which only /completions can give."""
        return concurrently(requests, self._options.concurrency, self._rank)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    # -- one request ----------------------------------------------------------------------------------------------

    async def _complete(self, request: Request) -> Completion | Failure:
        chat = not self._options.base
        fields = wire.body(self._model, request, chat=chat, extra=self._options.extra_body)
        path = "chat/completions" if chat else "completions"

        async def attempt() -> Completion:
            start = time.monotonic()
            reply = await self._post(path, fields)
            return wire.parse(reply, chat=chat, latency_s=time.monotonic() - start)

        try:
            return await self._with_retries(attempt)
        except _Refused as refusal:
            if wire.is_too_long(str(refusal)):
                return await self._with_less_room(fields, attempt)
            return self._refusal(str(refusal))
        except _Retry as failure:
            return self._failure(failure)

    async def _with_less_room(
        self, fields: dict[str, Any], attempt: Callable[[], Awaitable[Completion]]
    ) -> Completion | Failure:
        # Servers add max_tokens to the prompt's length; without it the reply gets what room there is. A prompt that
        # does not fit even so is beyond this model: no answer, and not a failure of ours.
        fields.pop("max_tokens", None)
        fields.pop(self._tokens_field, None)
        try:
            return await self._with_retries(attempt)
        except _Refused as refusal:
            return Completion("", finish="length") if wire.is_too_long(str(refusal)) else self._refusal(str(refusal))
        except _Retry as failure:
            return self._failure(failure)

    async def _rank(self, request: Request) -> Completion | Failure:
        if not self._options.base:
            raise UserError(
                f"{request.suite} ranks choices by log-likelihood, which a chat endpoint cannot; use --base"
            )
        start, values = time.monotonic(), []
        for text, choice in request.prompt.ranked(request.prompt.text or ""):
            fields = {"model": self._model, "prompt": text + choice, "max_tokens": 1, "temperature": 0, "logprobs": 1}

            async def attempt(fields: dict[str, Any] = fields, text: str = text, choice: str = choice) -> float:
                return wire.loglikelihood(await self._post("completions", {**fields, "echo": True}), text, choice)

            try:
                values.append(await self._with_retries(attempt))
            except _Refused as refusal:
                return self._refusal(str(refusal))
            except _Retry as failure:
                return self._failure(failure)
        return Completion(best_choice(values), latency_s=time.monotonic() - start, loglikelihoods=values)

    async def _with_retries(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        for number in range(self._options.retries + 1):
            try:
                result = await attempt()
            except (wire.BadReply, _Retry) as failure:
                last = failure if isinstance(failure, _Retry) else _Retry(str(failure))
                if number == self._options.retries:
                    raise last from None
                pause = FIRST_PAUSE_S * 2**number * (0.5 + random.random())
                await asyncio.sleep(min(LONGEST_PAUSE_S, last.pause_s if last.pause_s is not None else pause))
            else:
                self._succeeded, self._failed_in_a_row = True, 0
                return result
        raise _Retry("no try was allowed")

    async def _post(self, path: str, fields: dict[str, Any]) -> Any:
        if self._tokens_field != "max_tokens" and "max_tokens" in fields:
            fields = {self._tokens_field if name == "max_tokens" else name: value for name, value in fields.items()}
        try:
            # httpx's timeout is between bytes; a server that drips must not hold a slot for ever.
            async with asyncio.timeout(self._options.timeout_s):
                response = await self._client.post(f"{self._url}/{path}", json=fields)
        except TimeoutError:
            raise _Retry(f"no reply within {self._options.timeout_s:g} s") from None
        except httpx.TimeoutException as error:
            raise _Retry(f"no reply within {self._options.timeout_s:g} s ({type(error).__name__})") from None
        except httpx.ConnectError as error:
            raise _Retry(f"no connection ({error})", gone=True) from None
        except httpx.TransportError as error:
            raise _Retry(f"the connection broke ({type(error).__name__})") from None
        if response.status_code == 200:
            return _json(response, wire.BadReply("the reply is not JSON"))
        message = f"HTTP {response.status_code}: {wire.error_message(_json(response, None), response.text)}"
        if response.status_code in (408, 409, 425, 429) or response.status_code >= 500:
            raise _Retry(message, _retry_after(response))
        self._check_access(response.status_code)
        if "max_completion_tokens" in message and self._tokens_field == "max_tokens" and "max_tokens" in fields:
            self._tokens_field = "max_completion_tokens"
            return await self._post(path, fields)
        if response.status_code == 404:
            serves = f"it serves {', '.join(self._served[:5])}" if self._served else "check model and address"
            raise UserError(f"{self._shown} has no {self._model} under {path} ({message}); {serves}")
        raise _Refused(message)

    # -- what failures mean ---------------------------------------------------------------------------------------

    def _failure(self, failure: _Retry) -> Failure:
        self._failed_in_a_row += 1
        if failure.gone or self._failed_in_a_row >= max(4, self._options.concurrency):
            raise PrerequisiteMissing(
                f"{self._shown} keeps failing ({failure})", "mend the endpoint and continue with --resume"
            )
        return Failure(f"{failure}, after {self._options.retries} retries")

    def _refusal(self, message: str) -> Failure:
        self._refused += 1
        if not self._succeeded and self._refused >= REFUSALS_TO_GIVE_UP:
            raise UserError(f"{self._shown} refuses every request ({message})")
        return Failure(message)

    def _check_access(self, status: int) -> None:
        if status in (401, 403):
            name = self._options.api_key_env
            problem = f"refuses the key in {name}" if os.environ.get(name) else "wants a key"
            raise PrerequisiteMissing(f"{self._shown} {problem} (HTTP {status})", f"export {name}=... with a valid key")

    async def _greet(self) -> None:
        """Ask what is served. Only silence and a refused key are held against it: some servers cannot list."""
        for pause in (0.3, 1.0, None):
            try:
                response = await self._client.get(f"{self._url}/models", timeout=min(30.0, self._options.timeout_s))
                break
            except httpx.TransportError as error:
                if pause is None:
                    raise PrerequisiteMissing(
                        f"{self._shown} does not answer ({str(error) or type(error).__name__})",
                        "start the server, or mend the address after @",
                    ) from None
                await asyncio.sleep(pause)
            except httpx.InvalidURL as error:
                raise UserError(f"{self._shown} is no address ({error})") from None
        self._check_access(response.status_code)
        listing = _json(response, None) if response.status_code == 200 else None
        data = listing.get("data") if isinstance(listing, dict) else None
        for entry in data if isinstance(data, list) else []:
            if isinstance(entry, dict) and isinstance(entry.get("id"), str):
                self._served.append(entry["id"])
                if entry["id"] == self._model:
                    kept = ("root", "owned_by", "max_model_len")
                    self._identity["served"] = {k: entry[k] for k in kept if isinstance(entry.get(k), (str, int))}
        server = response.headers.get("server")
        if server:
            self._identity["server"] = server[:200]


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
