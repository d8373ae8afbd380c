"""What goes over the wire to an OpenAI-compatible server and what comes back: servers differ, and none is trusted.

Known differences: content is null beside tool calls or while thinking; reasoning is called `reasoning` or
`reasoning_content`; `n` is ignored by some, so one choice is asked for and counted; unknown fields are refused by some,
so only fields that are needed are sent; counts of tokens are made up by some, so impossible ones are left out.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mellum_eval.backends.base import Completion, Request
from mellum_eval.backends.thinking import estimated, reopened
from suites.problem import Message

AS_SAID: Mapping[str, Any] = {"skip_special_tokens": False, "spaces_between_special_tokens": False}
"""For vLLM: <think> and <tool_call> are special tokens in many vocabularies, and part of what the model said."""


class BadReply(Exception):
    """The server's answer is no answer; worth another try."""


def body(model: str, request: Request, *, chat: bool, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The request's JSON."""
    sampling, prompt = request.sampling, request.prompt
    fields: dict[str, Any] = {
        "model": model,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "seed": sampling.seed,
    }
    if chat:
        fields["messages"] = messages(prompt.messages)
    else:
        fields["prompt"] = prompt.text or ""
    if sampling.top_p < 1.0:
        fields["top_p"] = sampling.top_p
    if sampling.top_k > 0:
        fields["top_k"] = sampling.top_k
    if prompt.stop:
        fields["stop"] = list(prompt.stop)
    if prompt.tools and chat:
        fields["tools"] = [dict(tool) for tool in prompt.tools]
    return {**fields, **extra}


def messages(turns: Sequence[Message]) -> list[dict[str, Any]]:
    """Turns in the wire's form; tool results answer the calls just before them, in order.

    A result that answers no structured call (the model wrote its call as text) is said as a user's turn, in the form
    that chat templates give to results: servers refuse a tool's turn without the id of a call.
    """
    sent: list[dict[str, Any]] = []
    open_calls: list[str] = []
    for number, turn in enumerate(turns):
        message: dict[str, Any] = {"role": turn.role, "content": turn.content}
        if turn.tool_calls:
            calls = []
            open_calls.clear()
            for index, call in enumerate(turn.tool_calls):
                identifier = f"call_{number}_{index}"
                open_calls.append(identifier)
                arguments = json.dumps(call.get("arguments", {}), ensure_ascii=False)
                function = {"name": str(call.get("name", "")), "arguments": arguments}
                calls.append({"id": identifier, "type": "function", "function": function})
            message["tool_calls"] = calls
        if turn.role == "tool":
            if open_calls:
                message["tool_call_id"] = open_calls.pop(0)
            else:
                message = {"role": "user", "content": f"<tool_response>\n{turn.content}\n</tool_response>"}
        sent.append(message)
    return sent


def parse(reply: Any, *, chat: bool, latency_s: float, most: int, thinks: bool = False) -> Completion:
    """The completion in a server's reply.

    Args:
        reply: The reply's JSON.
        chat: Whether it answers a chat.
        latency_s: How long it took.
        most: Tokens that were asked for at most.
        thinks: Whether the model was given room to think: what was cut off without a tag is then a thought.

    Raises:
        BadReply: It is not of the form that the interface promises.
    """
    choice = _choice(reply)
    tool_calls: list[dict[str, Any]] = []
    reasoning = None
    if chat:
        message = choice.get("message")
        if not isinstance(message, dict):
            raise BadReply("a choice without a message")
        text = _text(message.get("content"))
        if not text and isinstance(message.get("refusal"), str):
            text = message["refusal"]
        reasoning = next((r for r in map(message.get, ("reasoning", "reasoning_content")) if isinstance(r, str)), None)
        tool_calls = [call for call in map(_call, message.get("tool_calls") or []) if call is not None]
    else:
        text = _text(choice.get("text"))
    finish = choice.get("finish_reason")
    if thinks and finish == "length" and reasoning is None and "think>" not in text:
        text = reopened(text)
    tokens = _usage(reply.get("usage"), most, said=bool(text or reasoning or tool_calls))
    return Completion(
        text=text,
        reasoning=reasoning or None,
        tool_calls=tuple(tool_calls),
        finish=finish if finish in ("length", "tool_calls") else "stop",
        tokens=estimated(tokens, text, reasoning or None),
        latency_s=latency_s,
    )


def loglikelihood(reply: Any, prompt: str, choice: str) -> tuple[float, bool | None]:
    """Sum of the choice's token log-probabilities, out of an echoed prompt, and whether each is the most probable.

    The latter is None where the server does not say what is. A text's first token has no log-probability.

    Raises:
        BadReply: The server echoed no log-probabilities.
    """
    logprobs = _choice(reply).get("logprobs")
    values = logprobs.get("token_logprobs") if isinstance(logprobs, dict) else None
    offsets = logprobs.get("text_offset") if isinstance(logprobs, dict) else None
    if not isinstance(values, list) or not isinstance(offsets, list) or len(values) != len(offsets) or not offsets:
        raise BadReply("no log-probabilities of the prompt's tokens")
    end = len(prompt) + len(choice)
    best = logprobs.get("top_logprobs") if isinstance(logprobs, dict) else None
    tops = best if isinstance(best, list) and len(best) == len(values) else [None] * len(values)
    total, counted = 0.0, 0
    greedy: bool | None = True
    for value, start, stop, top in zip(values, offsets, [*offsets[1:], float("inf")], tops, strict=True):
        # A token may straddle the seam; it is part of what is ranked.
        if stop > len(prompt) and start < end and isinstance(value, (int, float)):
            total += value
            counted += 1
            if greedy is not None:
                told = isinstance(top, dict) and bool(top)
                greedy = greedy and value >= max(top.values()) if told else None
    if not counted:
        raise BadReply("the prompt was not echoed")
    return total, greedy


def error_message(reply: Any, text: str) -> str:
    """What an error reply says: OpenAI's form, FastAPI's, or the beginning of whatever it is."""
    error = reply.get("error", reply.get("detail", reply.get("message"))) if isinstance(reply, dict) else None
    if isinstance(error, dict):
        error = error.get("message", error)
    return " ".join(str(error if error is not None else text).split())[:300]


def is_too_long(message: str) -> bool:
    """Whether a refusal is about the context's length: a limit of the model, not a failure of ours."""
    lowered = message.lower()
    return any(
        sign in lowered
        for sign in ("context length", "context_length", "context window", "maximum model length", "max_model_len")
    )


def lacks_tool_parser(message: str) -> bool:
    """Whether a refusal is vLLM's of tools, for it was started without a parser of their calls."""
    return "--tool-call-parser" in message


def _choice(reply: Any) -> dict[str, Any]:
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise BadReply("a reply without choices")
    return choices[0]


def _text(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        return "".join(part for part in parts if isinstance(part, str))
    raise BadReply(f"content is a {type(content).__name__}")


def _call(call: Any) -> dict[str, Any] | None:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return None
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        # What is no JSON is kept as the model wrote it: the suite's rule says what that is worth.
        with contextlib.suppress(ValueError, RecursionError):
            arguments = json.loads(arguments) if arguments.strip() else {}
    return {"name": str(function.get("name") or ""), "arguments": arguments if arguments is not None else {}}


def _usage(usage: Any, most: int, *, said: bool) -> dict[str, int]:
    """Counts that can be right: a server that counts characters, or nothing, must not price a run."""
    if not isinstance(usage, dict):
        return {}
    details = usage.get("completion_tokens_details")
    found = {
        "prompt": usage.get("prompt_tokens"),
        "completion": usage.get("completion_tokens"),
        "reasoning": details.get("reasoning_tokens") if isinstance(details, dict) else None,
    }
    counts = {n: c for n, c in found.items() if isinstance(c, int) and not isinstance(c, bool) and 0 <= c < 2**53}
    if counts.get("prompt") == 0:
        del counts["prompt"]
    completion = counts.get("completion")
    if completion is not None and (completion > most or (said and completion == 0)):
        del counts["completion"]
    if counts.get("reasoning", 0) > counts.get("completion", most):
        del counts["reasoning"]
    return counts
