"""A reply that comes in pieces (server-sent events), put together into the one that would have come whole.

Long reasoning outlasts the patience of the proxies between here and the server, unless something comes all the time:
`--stream` is for that. A stream that ends before it said why (no `finish_reason`) was cut off: it is no reply.
"""

from __future__ import annotations

import json
from typing import Any

from mellum_eval.backends.openai_wire import BadReply, error_message


class Collected:
    """The pieces of one choice so far."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._calls: dict[int, dict[str, list[str]]] = {}
        self._finish: str | None = None
        self._usage: Any = None
        self._chat = False

    def add(self, line: str) -> None:
        """A line of the stream.

        Raises:
            BadReply: It is none, or says that something went wrong.
        """
        field, _, value = line.partition(":")
        if field != "data" or value.strip() == "[DONE]":
            return  # comments keep the connection open; other fields carry nothing here
        try:
            event = json.loads(value)
        except (ValueError, RecursionError):
            raise BadReply("a piece of the stream is not JSON") from None
        if not isinstance(event, dict):
            raise BadReply("a piece of the stream is no object")
        if event.get("error") is not None:
            raise BadReply(f"the stream broke off: {error_message(event, '')}")
        self._usage = event.get("usage") or self._usage
        for choice in event.get("choices") or []:
            if isinstance(choice, dict) and choice.get("index", 0) == 0:
                self._add_choice(choice)

    def _add_choice(self, choice: dict[str, Any]) -> None:
        delta = choice.get("delta")
        if isinstance(delta, dict):
            self._chat = True
            for name in ("content", "reasoning", "reasoning_content", "refusal"):
                self._add_text(name, delta.get(name))
            for call in delta.get("tool_calls") or []:
                if isinstance(call, dict):
                    self._add_call(call)
        self._add_text("text", choice.get("text"))
        self._finish = choice.get("finish_reason") or self._finish

    def _add_text(self, name: str, piece: Any) -> None:
        if isinstance(piece, str):
            self._texts.setdefault(name, []).append(piece)

    def _add_call(self, call: dict[str, Any]) -> None:
        index = call.get("index")
        kept = self._calls.setdefault(index if isinstance(index, int) else 0, {"name": [], "arguments": []})
        function = call.get("function")
        for name, pieces in kept.items():
            piece = function.get(name) if isinstance(function, dict) else None
            if isinstance(piece, str):
                pieces.append(piece)

    def reply(self) -> dict[str, Any]:
        """The whole reply, in the form of one that was not streamed.

        Raises:
            BadReply: The stream ended in the middle.
        """
        if self._finish is None:
            raise BadReply("the stream ended before the answer did")
        texts = {name: "".join(pieces) for name, pieces in self._texts.items()}
        choice: dict[str, Any] = {"finish_reason": self._finish}
        if self._chat:
            calls = [{name: "".join(pieces) for name, pieces in self._calls[i].items()} for i in sorted(self._calls)]
            choice["message"] = {"role": "assistant", "content": None, **texts}
            if calls:
                choice["message"]["tool_calls"] = [{"type": "function", "function": call} for call in calls]
        else:
            choice["text"] = texts.get("text", "")
        return {"choices": [choice], "usage": self._usage}
