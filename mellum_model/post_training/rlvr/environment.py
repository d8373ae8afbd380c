"""What an environment is: tasks to be asked, and whoever answers the model's turns until one of them is judged.

Environments are handed in; what is here is all that the loop knows of them. A reply is a future, because judging may
take long and happens elsewhere while the next rollouts are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

Split: TypeAlias = Literal["train", "validation"]
Message: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to be asked."""

    id: str
    messages: tuple[Message, ...]
    """{"role", "content"}: the conversation up to the model's turn."""
    tools: tuple[Mapping[str, Any], ...] = ()
    """Function schemas."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The end of an episode.

    Attributes:
        reward: In [0, 1]; None where it could not be judged, after all retries, by no fault of the answer's. An answer
            in which nothing can be judged has 0, and the outcome and message say so.
        passed: Whether the answer is right; None as above.
        outcome: Of the verifier, such as `passed`, `unparsed`, `tampered`.
        message: One line for a person.
    """

    reward: float | None
    passed: bool | None
    outcome: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class GoOn:
    """The model has another turn, after these messages (which do not repeat its own)."""

    messages: tuple[Message, ...]


Reply: TypeAlias = Judged | GoOn


class Episode(Protocol):
    """One rollout's way through a task."""

    @property
    def last(self) -> bool:
        """Whether the next answer ends the episode, whatever it is."""
        ...

    def answer(self, text: str, finish: str) -> Future[Reply]:
        """Take the model's turn: its whole text, reasoning included, and `stop` or `length`.

        The future raises only where judging has become impossible altogether; training then stops and can be resumed.
        Not called where the first turn is the last, and another episode of the group was given the same text.
        """
        ...


class Environment(Protocol):
    """A domain of tasks."""

    def tasks(self, split: Split) -> Sequence[Task]:
        """Tasks of a side, always the same in the same order; the sides share none."""
        ...

    def begin(self, task: Task) -> Episode:
        """An episode of one of its tasks."""
        ...


Opener: TypeAlias = Callable[[Mapping[str, Any]], Environment]
"""Makes an environment of a recipe's options.

Raises:
    ValueError: An option is unknown or wrong; the message names it.
"""
