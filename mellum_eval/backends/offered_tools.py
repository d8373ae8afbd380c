"""Where an endpoint's tool calls come back: parsed, in the text, or nowhere, for it refuses tools.

vLLM started without a parser of calls refuses tools, unless it is told not to look for calls (`tool_choice: none`):
then they stay in the text, where suites read them just as well. Only if the prompt shows the tools all the same, which
a flag of the server's and templates without tools prevent: a model is not graded on tools that it never saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mellum_eval.backends import openai_wire as wire
from mellum_eval.backends.endpoint import Endpoint, Refused

PARSER = "--enable-auto-tool-choice --tool-call-parser hermes"
"""vLLM's flags; hermes reads the calls of Mellum, Qwen and others who write them as <tool_call> blocks."""
NOT_PARSED: Mapping[str, str] = {"tool_choice": "none"}
_ANY_TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}

Calls = Literal["parsed", "in the text"]


async def where_calls_are(endpoint: Endpoint, model: str, extra: Mapping[str, Any]) -> Calls | None:
    """Ask for one token with a tool on offer, and see; None where tools cannot be offered.

    Args:
        endpoint: A vLLM server.
        model: As it is served.
        extra: Fields of every request.

    Raises:
        Retry, Refused, wire.BadReply, UserError: It cannot be told.
    """
    asked = {"model": model, "messages": [{"role": "user", "content": "?"}], "max_tokens": 1, **extra}
    offered = {**asked, "tools": [_ANY_TOOL]}
    try:
        await endpoint.post("chat/completions", offered)
        return "parsed"
    except Refused as refusal:
        if not wire.lacks_tool_parser(str(refusal)):
            raise
    plain, shown = await _prompt_tokens(endpoint, asked), await _prompt_tokens(endpoint, {**offered, **NOT_PARSED})
    return "in the text" if plain < shown else None


async def _prompt_tokens(endpoint: Endpoint, fields: Mapping[str, Any]) -> int:
    reply = await endpoint.post("chat/completions", fields)
    tokens = wire.parse(reply, chat=True, latency_s=0.0, most=1).tokens
    if "prompt" not in tokens:
        raise wire.BadReply("no count of the prompt's tokens")
    return tokens["prompt"]
