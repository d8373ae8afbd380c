"""Conversations into examples: what of them is learnt, in the Instruct and in the Thinking form.

A record is {"messages": [...], "tools": [...] (optional), "reasoning": "..." (optional, of the last assistant turn)};
an earlier turn's reasoning is its `reasoning_content`. Instruct learns every assistant turn and never sees reasoning.
Thinking learns one assistant turn together with its reasoning, and unfolds a conversation into several examples that
end at its last few turns; conversations without reasoning are left out.

What is learnt of a turn is what the model has to write: from after `<|im_start|>assistant` and its line break up to and
with `<|im_end|>`. Context and answer are encoded apart, because that is how they meet when the model is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ..chat import END_OF_TURN, SPECIAL_TOKENS, TURN, render
from ..errors import ModelError
from ..tokenizer import Tokenizer
from ..training.data.records import Encoded, Example, Record
from ..training.errors import DataError

Message = Mapping[str, Any]
HEAD = f"{TURN}assistant\n"
_ROLES = frozenset(("system", "user", "assistant", "tool"))
_MARKS = (TURN, END_OF_TURN)


class ChatEncoder:
    """The `Encoder` of supervised fine-tuning."""

    def __init__(
        self, tokenizer: Tokenizer, length: int, *, form: Literal["instruct", "thinking"], unfold: int = 5
    ) -> None:
        """Prepare.

        Args:
            tokenizer: Must know the marks of turns, reasoning and calls as single tokens.
            length: Tokens of a row: what is longer is dropped, as in the report.
            form: What is learnt.
            unfold: Thinking: examples of one conversation at most.
        """
        missing = [mark for mark in SPECIAL_TOKENS[:7] if tokenizer.id_of(mark) is None]
        if missing:
            raise DataError(f"the tokenizer has no {', '.join(missing)}, which conversations need")
        self._tokenizer, self._length, self._form, self._unfold = tokenizer, length, form, unfold

    def encode(self, record: Record, source: str, phase: int, epoch: int) -> Encoded:
        """Examples of a conversation: one (Instruct), or one for each of its last turns with reasoning (Thinking)."""
        messages, tools = read_conversation(record)
        if any(mark in str(message.get("content") or "") for message in messages for mark in _MARKS):
            return Encoded([], {"marks of turns in a text": 1})
        try:
            parts = self._instruct(messages, tools) if self._form == "instruct" else self._thinking(messages, tools)
        except ModelError as error:
            raise DataError(f"{record.where}: {error}") from None
        if not parts:
            return Encoded([], {"nothing to learn" if self._form == "instruct" else "no reasoning": 1})
        examples = []
        for segments in parts:
            ids: list[int] = []
            learnt: list[bool] = []
            for text, counts in segments:
                piece = self._tokenizer.encode(text)
                ids += piece
                learnt += [counts] * len(piece)
            if len(ids) <= self._length:
                examples.append(Example(source, ids, learnt))
        too_long = len(parts) - len(examples)
        return Encoded(examples, {"longer than a row": too_long} if too_long else {})

    def _instruct(self, messages: Sequence[Message], tools: Sequence[Any]) -> list[list[tuple[str, bool]]]:
        plain = [without_reasoning(message) for message in messages]
        segments: list[tuple[str, bool]] = []
        shown = ""
        for place, message in enumerate(plain):
            if message["role"] != "assistant":
                continue
            context = render(plain[:place], tools)
            whole = render(plain[: place + 1], tools, add_generation_prompt=False)
            # Each turn's context begins with all of the last one's: reasoning, the one thing that goes, is not there.
            segments += [(context[len(shown) :], False), (whole[len(context) :].removesuffix("\n"), True)]
            shown = whole.removesuffix("\n")
        return [segments] if segments else []

    def _thinking(self, messages: Sequence[Message], tools: Sequence[Any]) -> list[list[tuple[str, bool]]]:
        thoughtful = [
            place
            for place, message in enumerate(messages)
            if message["role"] == "assistant" and str(message.get("reasoning_content") or "").strip()
        ]
        found = []
        for place in thoughtful[-self._unfold :]:
            context = render(messages[:place], tools)
            whole = render(messages[: place + 1], tools, add_generation_prompt=False)
            found.append([(context, False), (whole[len(context) :].removesuffix("\n"), True)])
        return found


def read_conversation(record: Record) -> tuple[list[dict[str, Any]], Sequence[Any]]:
    """Messages (with the record's `reasoning` at its turn) and tools of a record.

    Raises:
        DataError: It is not of the schema; the message names record and field.
    """
    messages, tools, reasoning = (record.data.get(key) for key in ("messages", "tools", "reasoning"))
    if not isinstance(messages, list) or not messages:
        raise DataError(f"{record.where}: messages: a list of turns is needed")
    found: list[dict[str, Any]] = []
    for place, message in enumerate(messages):
        if not isinstance(message, Mapping) or message.get("role") not in _ROLES:
            raise DataError(f"{record.where}: messages[{place}].role: one of {', '.join(sorted(_ROLES))} is needed")
        found.append(dict(message))
    if reasoning is not None and not isinstance(reasoning, str):
        raise DataError(f"{record.where}: reasoning: a string is needed, not a {type(reasoning).__name__}")
    if tools is not None and not isinstance(tools, list):
        raise DataError(f"{record.where}: tools: a list of function schemas is needed")
    if reasoning and found[-1]["role"] == "assistant":
        found[-1]["reasoning_content"] = reasoning
    return found, tools or []


def without_reasoning(message: Message) -> dict[str, Any]:
    """A turn without its reasoning, wherever that stands."""
    kept = {key: value for key, value in message.items() if key != "reasoning_content"}
    content = kept.get("content")
    if kept["role"] == "assistant" and isinstance(content, str) and "</think>" in content:
        kept["content"] = content.rpartition("</think>")[2].lstrip("\n")
    return kept
