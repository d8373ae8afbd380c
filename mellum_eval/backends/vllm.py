"""`vllm:ID_OR_PATH`: a model in a vLLM server that lives as long as the run does.

The same client as for any other endpoint, and what only vLLM gives: prompts tokenised as the server does it, exact
log-probabilities of given tokens (chat models included), a bound on reasoning, answers held to given choices. The
server batches continuously and keeps the prefixes of prompts, so few-shot examples and further samples of a problem
cost their new tokens only.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from mellum_eval.backends import openai_wire as wire
from mellum_eval.backends.base import Completion, Failure, Request
from mellum_eval.backends.endpoint import Refused
from mellum_eval.backends.hf_ranking import shared_prefix
from mellum_eval.backends.openai import OpenAIBackend
from mellum_eval.backends.thinking import counted, opened, reopened, thought
from mellum_eval.backends.vllm_server import VllmServer
from mellum_eval.errors import UserError
from mellum_eval.spec import BackendOptions

IN_FLIGHT = 256
"""Requests at the server, unless told otherwise: it queues what its batch has no room for."""


class VllmBackend(OpenAIBackend):
    """A client of a server of our own."""

    def __init__(self, name: str, options: BackendOptions, server: VllmServer) -> None:
        """See `start`."""
        limits = httpx.Limits(max_connections=options.concurrency, max_keepalive_connections=options.concurrency)
        super().__init__(
            name, "http://vllm/v1", options, transport=httpx.AsyncHTTPTransport(uds=server.socket, limits=limits)
        )
        self._server = server
        self._identity = {"scheme": "vllm", "name": name, "dtype": options.dtype}
        self._opens_thinking = False
        self._calls_in_text = options.tool_call_parser is None

    @classmethod
    async def start(cls, rest: str, options: BackendOptions, logs: Path | None) -> VllmBackend:
        """Start a server with the model, and reach for it.

        Args:
            rest: A directory, or an id on the hub.
            options: Where vLLM is, its parsers and arguments.
            logs: The directory for its log.

        Raises:
            UserError: No such directory.
            PrerequisiteMissing: vLLM is not there, or does not start with this model.
        """
        local = Path(rest).is_dir()
        if not local and rest.startswith((".", "/", "~")):
            raise UserError(f"vllm:{rest}: no such directory")
        if "concurrency" not in options.model_fields_set:
            options = options.model_copy(update={"concurrency": IN_FLIGHT})
        name = Path(rest).resolve().name if local else rest
        backend = cls(name, options, VllmServer(rest, name, options, logs))
        try:
            await backend._server.start()
            await backend._greet()
            if local:
                backend._identity |= await asyncio.to_thread(_files, Path(rest))
        except BaseException:
            await backend.aclose()
            raise
        return backend

    async def aclose(self) -> None:
        """Close the connections and end the server."""
        await super().aclose()
        # Whatever happens here meanwhile, the server is not left behind.
        await asyncio.shield(self._server.stop())

    async def _greet(self) -> None:
        await super()._greet()
        version = (await self._endpoint.get("/version", 30.0)).json().get("version")
        self._identity |= {"vllm": str(version)}
        self._identity.pop("server", None)
        if not self._options.base:
            try:
                tokens = await self._rendered([{"role": "user", "content": "?"}], ())
            except Refused as refusal:
                if "chat template" not in str(refusal):
                    raise UserError(f"vllm:{self._model} refuses a chat ({refusal})") from None
                self._options = self._options.model_copy(update={"base": True})
                self._notices.append(f"vllm:{self._model} has no chat template: it is asked as a base model")
                return
            self._opens_thinking = opened(await self._text(tokens))

    async def _look_for_parsed_calls(self) -> None:
        pass  # it is known how the server was started

    def _fields(self, request: Request) -> dict[str, Any]:
        fields = super()._fields(request)
        if self._options.base:
            return fields
        if self._options.chat_template_kwargs:
            fields.setdefault("chat_template_kwargs", self._options.chat_template_kwargs)
        if self._options.thinking_budget is not None and self._options.reasoning_parser is not None:
            fields.setdefault("thinking_token_budget", self._options.thinking_budget)
        return fields

    async def _complete(self, request: Request) -> Completion | Failure:
        reply = await super()._complete(request)
        if isinstance(reply, Failure) or (not reply.text and not reply.reasoning):
            return reply
        text = reply.text
        if self._opens_thinking and self._options.reasoning_parser is None:
            text = reopened(text)
        tokens = {name: count for name, count in reply.tokens.items() if name != "reasoning_estimated"}
        if "reasoning" not in tokens and (found := thought(text, reply.reasoning)):
            number = len(await self._encoded(found, special=False))
            tokens = counted(tokens, text, reply.reasoning, lambda _: number)
        return replace(reply, text=text, tokens=tokens)

    # -- ranking --------------------------------------------------------------------------------------------------

    async def _rank(self, request: Request) -> Sequence[tuple[float, bool | None]]:
        """Log-likelihoods of the choices after the server's prompt, and of one alone whether it is the greedy one."""
        prompt, special = request.prompt, self._options.base
        text = prompt.text or ""
        if not self._options.base:
            ids = await self._rendered(wire.messages(prompt.messages), prompt.tools)
            text = await self._tried(lambda: self._text(ids))
        starts: dict[str, list[int]] = {}
        spans: list[tuple[list[int], list[int]]] = []
        for context, choice in prompt.ranked(text):
            if context not in starts:
                starts[context] = await self._encoded(context, special=special)
            whole = await self._encoded(context + choice, special=special)
            shared = shared_prefix(starts[context], whole)
            spans.append((whole[:shared], whole[shared:]))
        return await self._tried(lambda: self._span_values(spans))

    async def _span_values(self, spans: Sequence[tuple[list[int], list[int]]]) -> list[tuple[float, bool | None]]:
        first = spans[0][0]
        if len(spans) > 1 and all(context == first and len(span) == 1 for context, span in spans):
            found = await self._next_values(first, [span[0] for _, span in spans])
            if found is not None:
                return [(value, None) for value in found]
        return [await self._prompt_value(context, span) for context, span in spans]

    async def _next_values(self, context: list[int], tokens: list[int]) -> list[float] | None:
        """Log-probabilities of single tokens after one context, in one request; None from a vLLM without that."""
        fields = {"logprobs": len(tokens), "logprob_token_ids": tokens, "return_tokens_as_token_ids": True}
        reply = await self._endpoint.post("completions", self._ranking(context, fields))
        try:
            top = reply["choices"][0]["logprobs"]["top_logprobs"][0]
            return [float(top[f"token_id:{token}"]) for token in tokens]
        except (KeyError, IndexError, TypeError):
            return None

    async def _prompt_value(self, context: list[int], span: list[int]) -> tuple[float, bool | None]:
        reply = await self._endpoint.post("completions", self._ranking(context + span, {"prompt_logprobs": 0}))
        try:
            rows = reply["choices"][0]["prompt_logprobs"][len(context) :]
            told = [row[str(token)] for row, token in zip(rows, span, strict=True)]
            ranks = [one.get("rank") for one in told]
            greedy = None if None in ranks else all(rank == 1 for rank in ranks)
            return sum(float(one["logprob"]) for one in told), greedy
        except (KeyError, IndexError, TypeError, ValueError):
            raise Refused("no log-probabilities of the prompt's tokens") from None

    def _ranking(self, ids: list[int], fields: dict[str, Any]) -> dict[str, Any]:
        return {"model": self._model, "prompt": ids, "max_tokens": 1, "temperature": 0, **fields}

    # -- the server's tokenizer -----------------------------------------------------------------------------------

    async def _encoded(self, text: str, *, special: bool) -> list[int]:
        return await self._tried(lambda: self._tokens({"prompt": text, "add_special_tokens": special}))

    async def _rendered(self, messages: list[dict[str, Any]], tools: Sequence[Any]) -> list[int]:
        fields: dict[str, Any] = {"messages": messages, "chat_template_kwargs": self._options.chat_template_kwargs}
        if tools:
            fields["tools"] = [dict(tool) for tool in tools]
        return await self._tried(lambda: self._tokens(fields))

    async def _text(self, tokens: list[int]) -> str:
        reply = await self._endpoint.post("/detokenize", {"model": self._model, "tokens": tokens})
        text = reply.get("prompt") if isinstance(reply, dict) else None
        if not isinstance(text, str):
            raise wire.BadReply("/detokenize gave no text")
        return text


def _files(path: Path) -> dict[str, Any]:
    """What a local checkpoint's files say of it."""
    from mellum_eval.backends.hf import weights_sha256

    found: dict[str, Any] = {"sha256": weights_sha256(path)}
    template = path / "chat_template.jinja"
    if template.is_file():
        found["chat_template_sha256"] = hashlib.sha256(template.read_bytes()).hexdigest()
    return found
