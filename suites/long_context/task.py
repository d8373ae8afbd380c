"""What all tasks of long context share: one set of problems, asked at each length."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sandboxes.check import ContainsCheck
from suites.long_context.length import LENGTHS, TEMPLATE_ROOM, estimated, fitted
from suites.problem import Message, Problem, Prompt
from suites.suite import Suite

PROBLEMS = 50
"""A task at one length. RULER asks 500; at 128K tokens these are 6.5 million tokens a task."""
SHORTEST = "4k"


@dataclass(frozen=True, slots=True)
class Instance:
    """One problem, before it has a length.

    Attributes:
        answers: The strings that the answer must have.
        make: The prompt up to the answer, with so many pieces of filler.
        prefix: How the answer begins: base models continue it.
        trace: Text that stands in the prompt at every length and in no other problem's: by it a copy is known.
        metadata: What breakdowns need.
    """

    answers: tuple[str, ...]
    make: Callable[[int], str]
    prefix: str
    trace: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


class LongContext(Suite):
    """A task at one length (variant; the shortest without one).

    Answers are drawn from the task's name and the problem's number alone, the filler after them: problem 7 asks for the
    same at every length and for every tokenizer, so that lengths and models are compared problem by problem.
    """

    category = "long_context"
    version = "1"
    metric = "string_match"
    variants = tuple(LENGTHS)
    generated = True
    guess: ClassVar[int] = 40
    """Pieces of filler in 4,096 tokens, roughly."""
    letters_a_token: ClassVar[float] = 3.2
    """For the estimate of a length; of this task's text, as tokenizers of 32,000 words have it."""

    def tokens(self) -> int:
        """Of prompt and answer together."""
        return LENGTHS[self.variant or SHORTEST]

    @classmethod
    @abstractmethod
    def instance(cls, rng: random.Random, tokens: int) -> Instance:
        """Draw a problem.

        Args:
            rng: The problem's own.
            tokens: The length it will have, for what depends on it by definition (the number of different words).
        """

    def problems(self) -> Sequence[Problem]:
        """Their lengths are estimated, for lack of a model; `sized` counts."""

        async def count(text: str) -> int:
            return estimated(text, self.letters_a_token)

        sizing = self.sized(count)
        try:
            sizing.send(None)
        except StopIteration as end:
            found: Sequence[Problem] = end.value
            return found
        raise RuntimeError("an estimate waits for nothing")

    async def sized(
        self, count: Callable[[str], Awaitable[int]], *, wanted: Collection[str] | None = None
    ) -> Sequence[Problem]:
        """The problems at their length in a model's own tokens."""
        room = self.tokens() - self.sampling.max_tokens - TEMPLATE_ROOM
        pieces, found = self.guess * self.tokens() // LENGTHS[SHORTEST], []
        for number in range(PROBLEMS):
            if wanted is not None and self._id(self.variant or SHORTEST, number) not in wanted:
                continue
            instance = self._instance(number, self.tokens())
            text, pieces = await fitted(instance.make, room, pieces, count)
            found.append(self._problem(number, instance, text))
        return found

    def traces(self) -> Mapping[str, str]:
        """Of all lengths, whichever this one is."""
        return {
            self._id(length, number): self._instance(number, tokens).trace
            for length, tokens in LENGTHS.items()
            for number in range(PROBLEMS)
        }

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """Base models continue the beginning of the answer; chat models begin it themselves."""
        if chat:
            return Prompt(messages=(Message("user", problem.ask),))
        return Prompt(text=f"{problem.ask} {problem.metadata['prefix']}")

    def _instance(self, number: int, tokens: int) -> Instance:
        return self.instance(random.Random(f"{self.name}/{number}"), tokens)

    def _id(self, length: str, number: int) -> str:
        return f"{self.name}/{length}/{number}"

    def _problem(self, number: int, instance: Instance, text: str) -> Problem:
        length = self.variant or SHORTEST
        gold = f"{instance.prefix} {', '.join(instance.answers)}."
        # The summary over tasks goes by category; `suites.overall` has the same names.
        category = f"{self.name.removeprefix('ruler_')}_{length}"
        return Problem(
            id=self._id(length, number),
            ask=text,
            check=ContainsCheck(kind="contains", answers=list(instance.answers)),
            gold=gold,
            metadata={"category": category, "length": length, "prefix": instance.prefix, **instance.metadata},
        )
