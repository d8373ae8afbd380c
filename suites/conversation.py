"""Problems of several turns: what answers the model between its turns, and what is judged in the end.

A conversation belongs to one sample of one problem. It holds whatever state the turns share (files, a simulated API,
the tests that may be shown) on the trusted side, and runs what the model wrote in the sandbox only. It gives no
verdict: it ends with an answer, which is stored with the completion and judged by the problem's check, so that a run
can be judged again without a model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

from sandboxes.check import Answer
from suites.problem import Message, Prompt


@dataclass(frozen=True, slots=True)
class ModelTurn:
    """What the model said in its turn.

    Attributes:
        text: The completion without its reasoning; empty where the reasoning never closed.
        tool_calls: Structured calls, {"name", "arguments"}; arguments are an object, or the raw string if no JSON.
        finish: stop, length or tool_calls.
    """

    text: str
    tool_calls: Sequence[Mapping[str, Any]] = ()
    finish: str = "stop"


@dataclass(frozen=True, slots=True)
class GoOn:
    """The model has another turn, after these messages.

    Attributes:
        messages: What is appended after the model's own turn: tool results, or what the user says next.
        tools: The functions offered from now on, where they change; None leaves them as they were.
    """

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] | None = None


@dataclass(frozen=True, slots=True)
class Over:
    """The conversation has ended.

    Attributes:
        answer: What is judged.
    """

    answer: Answer


Step: TypeAlias = GoOn | Over


class Conversation(Protocol):
    """One sample's way through a problem of several turns. It ends by itself: it allows only so many turns."""

    async def step(self, turn: ModelTurn) -> Step:
        """Take the model's turn. Whatever the model wrote is data: it is never a reason to raise.

        Raises:
            SandboxError: What the turn asked for could not be run, and that was not the model's doing.
        """
        ...

    async def aclose(self) -> None:
        """Let go of what the conversation holds, wherever it stands."""
        ...


def grown(prompt: Prompt, turn: ModelTurn, step: GoOn) -> Prompt:
    """The prompt of the model's next turn: what it said, without its reasoning, and what was said to it then.

    Text that cannot be encoded and calls whose arguments are no object are made harmless here: a server would refuse
    the whole request for them, and the sample would be nobody's fault.
    """
    tools = prompt.tools if step.tools is None else step.tools
    if prompt.messages:
        calls = tuple(_sendable(call) for call in turn.tool_calls)
        said = Message("assistant", _encodable(turn.text), calls)
        heard = tuple(replace(message, content=_encodable(message.content)) for message in step.messages)
        return replace(prompt, messages=(*prompt.messages, said, *heard), tools=tools)
    text = "\n\n".join([f"{prompt.text or ''}{turn.text}", *(message.content for message in step.messages), ""])
    return replace(prompt, text=_encodable(text), tools=tools)


def _sendable(call: Mapping[str, Any]) -> dict[str, Any]:
    arguments = call.get("arguments")
    try:
        arguments = json.loads(_encodable(json.dumps(arguments, ensure_ascii=False, allow_nan=False)))
    except (TypeError, ValueError, RecursionError):
        arguments = {}
    name = _encodable(str(call.get("name") or "unnamed"))
    return {"name": name, "arguments": arguments if isinstance(arguments, dict) else {}}


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
