"""`openai:MODEL@URL`: any OpenAI-compatible endpoint, chat or plain completions.

What passes is tried again (`mellum_eval.backends.endpoint`); then it is a failure, which scores nothing. An endpoint
that is gone, or fails whatever it is asked, ends the run instead: hours of retries and a table of failures help nobody,
and the run can be resumed.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
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
from mellum_eval.backends.endpoint import Endpoint, Refused, Retry, split_address
from mellum_eval.backends.offered_tools import NOT_PARSED, PARSER, where_calls_are
from mellum_eval.errors import PrerequisiteMissing, UserError
from mellum_eval.spec import BackendOptions

REFUSALS_TO_GIVE_UP = 3

_T = TypeVar("_T")


class OpenAIBackend:
    """A client of one endpoint."""

    def __init__(
        self, model: str, url: str, options: BackendOptions, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """See `open`, which also asks what is there."""
        self._model, self._options = model, options
        self._endpoint = Endpoint(model, url, options, transport)
        self._succeeded = False
        self._refused = self._failed_in_a_row = 0
        self._identity: dict[str, Any] = {"scheme": "openai", "name": model, "url": self._endpoint.shown}
        self._notices: list[str] = []
        self._tool_notices: list[str] = []
        self._calls_in_text = self._is_vllm = False

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
        ranks = self._options.base or self._options.guided_choice
        chat = not self._options.base
        served = self._identity.get("served", {}).get("max_model_len")
        context = self._options.context or (served if isinstance(served, int) and served > 0 else None)
        return BackendInfo(
            self._model,
            chat,
            self._identity,
            loglikelihood=ranks,
            notices=tuple(self._notices),
            context=context,
            tool_notices=tuple(self._tool_notices),
        )

    async def count_tokens(self, text: str) -> int | None:
        """By the server's tokenizer, if it is one that has /tokenize (vLLM)."""
        if not self._is_vllm:
            return None
        try:
            fields = {"prompt": text, "add_special_tokens": False}
            return len(await self._tried(lambda: self._tokens(fields)))
        except (Refused, Retry, wire.BadReply):
            return None

    def generate(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        """Complete prompts, at most `concurrency` at a time."""
        return concurrently(requests, self._options.concurrency, self._complete)

    def loglikelihood(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        """Rank choices by log-probabilities; with `guided_choice`, have the server choose one of them."""
        return concurrently(requests, self._options.concurrency, self._choose)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._endpoint.aclose()

    # -- one request ----------------------------------------------------------------------------------------------

    def _fields(self, request: Request) -> dict[str, Any]:
        fields = wire.body(self._model, request, chat=not self._options.base, extra=self._options.extra_body)
        if self._options.stream:
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
        if self._calls_in_text and "tools" in fields:
            fields = {**NOT_PARSED, **fields}
        return {**wire.AS_SAID, **fields} if self._is_vllm else fields

    async def _complete(self, request: Request) -> Completion | Failure:
        return await self._completed(request, self._fields(request))

    async def _completed(self, request: Request, fields: dict[str, Any]) -> Completion | Failure:
        chat = not self._options.base

        async def attempt() -> Completion:
            start = time.monotonic()
            reply = await self._endpoint.post("chat/completions" if chat else "completions", fields)
            most = request.sampling.max_tokens
            thinks = self._options.thinking_budget is not None
            return wire.parse(reply, chat=chat, latency_s=time.monotonic() - start, most=most, thinks=thinks)

        try:
            return await self._tried(attempt)
        except Refused as refusal:
            if wire.is_too_long(str(refusal)):
                return await self._with_less_room(fields, attempt)
            return self._refusal(str(refusal))
        except Retry as failure:
            return self._failure(failure)

    async def _with_less_room(
        self, fields: dict[str, Any], attempt: Callable[[], Awaitable[Completion]]
    ) -> Completion | Failure:
        # Servers add max_tokens to the prompt's length; without it the reply gets what room there is. A prompt that
        # does not fit even so is beyond this model: no answer, and not a failure of ours.
        for name in ("max_tokens", "max_completion_tokens"):
            fields.pop(name, None)
        try:
            return await self._tried(attempt)
        except Refused as refusal:
            return Completion("", finish="length") if wire.is_too_long(str(refusal)) else self._refusal(str(refusal))
        except Retry as failure:
            return self._failure(failure)

    async def _choose(self, request: Request) -> Completion | Failure:
        if self._options.guided_choice:
            return await self._guided(request)
        start = time.monotonic()
        try:
            values = await self._rank(request)
        except Refused as refusal:
            return self._refusal(str(refusal))
        except Retry as failure:
            return self._failure(failure)
        sums = tuple(value for value, _ in values)
        greedy = tuple(best for _, best in values if best is not None)
        return Completion(
            best_choice(sums),
            latency_s=time.monotonic() - start,
            loglikelihoods=sums,
            greedy=greedy if len(greedy) == len(sums) else (),
        )

    async def _rank(self, request: Request) -> Sequence[tuple[float, bool | None]]:
        """Log-likelihoods of a request's choices, and whether each is the greedy one, out of echoed prompts.

        Only /completions can give them.
        """
        if not self._options.base:
            raise UserError(
                f"{request.suite} ranks choices by log-likelihood, which a chat endpoint cannot; use --base, "
                "or --guided-choice where the server can hold a model to given answers"
            )
        values = []
        for text, choice in request.prompt.ranked(request.prompt.text or ""):
            fields = {"model": self._model, "prompt": text + choice, "max_tokens": 1, "temperature": 0, "logprobs": 1}

            async def attempt(
                fields: dict[str, Any] = fields, text: str = text, choice: str = choice
            ) -> tuple[float, bool | None]:
                reply = await self._endpoint.post("completions", {**fields, "echo": True})
                try:
                    return wire.loglikelihood(reply, text, choice)
                except wire.BadReply as error:
                    raise Refused(str(error)) from None  # what a server cannot give, it cannot give later either

            values.append(await self._tried(attempt))
        return values

    async def _guided(self, request: Request) -> Completion | Failure:
        """Have the server hold the model to the choices: vLLM's and SGLang's structured outputs."""
        choices = [choice.strip() for choice in request.prompt.choices]
        fields = {**wire.body(self._model, request, chat=not self._options.base, extra=self._options.extra_body)}
        fields |= {"structured_outputs": {"choice": choices}, "temperature": 0}
        reply = await self._completed(request, fields)
        if isinstance(reply, Failure):
            return reply
        said = (reply.text or reply.reasoning or "").strip()
        if said not in choices:
            return self._refusal(f"the server answered {said[:40]!r}, none of the choices: it does not guide")
        return Completion(chr(ord("A") + choices.index(said)), tokens=reply.tokens, latency_s=reply.latency_s)

    async def _tried(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        result = await self._endpoint.with_retries(attempt)
        self._succeeded, self._failed_in_a_row = True, 0
        return result

    # -- what failures mean ---------------------------------------------------------------------------------------

    def _failure(self, failure: Retry) -> Failure:
        self._failed_in_a_row += 1
        if failure.gone or self._failed_in_a_row >= max(4, self._options.concurrency):
            raise PrerequisiteMissing(
                f"{self._endpoint.shown} keeps failing ({failure})", "mend the endpoint and continue with --resume"
            )
        return Failure(f"{failure}, after {self._options.retries} retries")

    def _refusal(self, message: str) -> Failure:
        if wire.lacks_tool_parser(message):  # of requests with tools only: others are none the worse
            return Failure(f"{message}; start the server with {PARSER}")
        self._refused += 1
        if not self._succeeded and self._refused >= REFUSALS_TO_GIVE_UP:
            raise UserError(f"{self._endpoint.shown} refuses every request ({message})")
        return Failure(message)

    async def _greet(self) -> None:
        """Ask what is served."""
        await self._endpoint.greet()
        for entry in self._endpoint.served:
            if entry["id"] == self._model:
                kept = ("root", "owned_by", "max_model_len")
                self._identity["served"] = {k: entry[k] for k in kept if isinstance(entry.get(k), (str, int))}
                self._is_vllm = entry.get("owned_by") == "vllm"
                if self._is_vllm and not self._options.base:
                    await self._look_for_two_beginnings()
                    await self._look_for_parsed_calls()
        if self._endpoint.server:
            self._identity["server"] = self._endpoint.server[:200]

    async def _look_for_two_beginnings(self) -> None:
        """Warn where template and tokenizer both write the beginning-of-text token: it costs points."""
        try:
            tokens = await self._tokens({"messages": [{"role": "user", "content": "?"}]})
        except (Refused, Retry, wire.BadReply, UserError):
            return
        if len(tokens) > 1 and tokens[0] == tokens[1]:
            self._notices.append(
                f"{self._model}: every chat prompt begins with token {tokens[0]} twice: the chat template and the "
                "tokenizer both add it; mend the server's template, for such prompts cost points"
            )

    async def _look_for_parsed_calls(self) -> None:
        """Find out where tool calls come back, and have them in the text where the server would refuse tools."""
        if "tool_choice" in self._options.extra_body:
            return
        try:
            calls = await where_calls_are(self._endpoint, self._model, self._options.extra_body)
        except (Refused, Retry, wire.BadReply, UserError):
            return
        self._calls_in_text = calls == "in the text"
        if calls is not None:
            self._identity["tool_calls"] = calls
        if self._calls_in_text:
            self._tool_notices.append(
                f"{self._model}: the server has no parser of tool calls, so they are read in the text; with {PARSER} "
                "it parses them"
            )

    async def _tokens(self, fields: dict[str, Any]) -> list[int]:
        """Ids of a prompt, as a server with /tokenize has them."""
        reply = await self._endpoint.post("/tokenize", {"model": self._model, **fields})
        tokens = reply.get("tokens") if isinstance(reply, dict) else None
        if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
            raise wire.BadReply("/tokenize gave no tokens")
        return tokens
