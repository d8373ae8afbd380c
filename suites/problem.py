"""What is asked: problems and the prompts they are rendered to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sandboxes.check import Answer, Check


@dataclass(frozen=True, slots=True)
class Message:
    """One chat turn."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    """Calls of an assistant turn: {"name", "arguments"}."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered problem. Exactly one of `messages` (chat models) and `text` (base models) is set.

    Attributes:
        messages: The conversation up to the assistant's turn.
        text: The text a base model continues.
        tools: Function schemas offered, in the OpenAI form.
        stop: Strings that end the continuation (base models).
        choices: Continuations to rank by log-likelihood instead of generating: the answer is one number for each.
        contexts: What stands before each choice in place of `text`, where that differs (WinoGrande: the sentence up to
            its end with each name filled in, and one ending); as many as there are choices.
    """

    messages: tuple[Message, ...] = ()
    text: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    stop: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()

    def ranked(self, rendered: str) -> tuple[tuple[str, str], ...]:
        """The pairs of context and continuation whose log-likelihoods are the answer.

        Args:
            rendered: The prompt as text, for a chat model by its template.
        """
        contexts = self.contexts or (rendered,) * len(self.choices)
        return tuple(zip(contexts, self.choices, strict=True))


@dataclass(frozen=True, slots=True)
class Problem:
    """One question with what its answer must satisfy.

    Attributes:
        id: Unique and stable in its suite, such as `HumanEval/0`.
        ask: The question itself, as the data set words it; `Suite.render` puts it into a prompt.
        check: What the answer must satisfy. Never rendered.
        gold: A completion (as a model would write it) that must pass, or None where the suite has none.
        cluster: Problems that share one are not independent (same passage, same template): intervals heed it.
        metadata: Whatever breakdowns and renderers need; JSON-serialisable.
        wrong: Completions that must not pass, where the data set has such (HumanEvalPack's buggy solutions).
        follows: Id of the prerequisite conversation that comes before it (`Suite.prerequisites`), if one does.
    """

    id: str
    ask: str
    check: Check
    gold: str | None = None
    cluster: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    wrong: tuple[str, ...] = ()
    follows: str | None = None

    def after(self, answer: Answer) -> Problem:
        """The problem once the conversation that it follows has ended: its answer is `before` in the metadata."""
        return replace(self, metadata={**self.metadata, "before": answer})
