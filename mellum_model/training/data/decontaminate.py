"""What training must not contain: the problems of every registered suite.

Written benchmarks are found by n-grams of words, as GPT-3's and later reports do: a document that shares one with a
problem is dropped. Generated suites share their wording with the training instances of the same generator, so n-grams
would drop everything: their problems are found as instances, by id where a record carries one and by the whole
question anywhere in any text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeAlias

from .dedup import content

_OPENING = 3
"""Words by which a question's beginning is found before the whole is compared."""

COMMON = 10
"""Problems of one suite that words in a row may stand in and still tell which problem was copied; those that stand in
more are the suite's way of asking. Training drops a document for either."""

Hit: TypeAlias = tuple[str, str]
"""Suite and id of a problem that stands in a text."""


@dataclass(frozen=True, slots=True)
class SuiteIndex:
    """What the suites ask, as the caller hands it in.

    Attributes:
        written: Suite → id of a problem → its texts (question, and the answer where it is a text of its own).
        questions: Generated suite → id of an instance → the question, or what else tells it from all others.
        missing: Suites whose data is not at hand: nothing is checked against them, and the audit says so.
    """

    written: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    questions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    missing: Sequence[str] = ()


class Contamination:
    """The index, ready to be asked."""

    def __init__(self, index: SuiteIndex, ngram: int) -> None:
        """Build it.

        Args:
            index: What the suites ask.
            ngram: Words in a row that must agree.
        """
        self._ngram = ngram
        self._problems: list[Hit] = []
        self._grams: dict[int, int | tuple[int, ...]] = {}
        """Hash of words in a row → the problems that have them, by their places; mostly it is one."""
        for suite, problems in index.written.items():
            for problem, texts in problems.items():
                self._problems.append((suite, problem))
                for gram in {gram for text in texts for gram in _grams(_words(text), ngram)}:
                    self._own(gram, len(self._problems) - 1)
        self._instances: dict[str, Hit] = {}
        self._questions: dict[tuple[str, ...], tuple[Hit, ...]] = {}
        self._openings: dict[tuple[str, ...], set[int]] = {}
        for suite, asked in index.questions.items():
            for instance, text in asked.items():
                self._instances[instance] = (suite, instance)
                words = tuple(_signs(text))
                if len(words) < _OPENING:
                    continue
                self._questions[words] = (*self._questions.get(words, ()), (suite, instance))
                self._openings.setdefault(words[:_OPENING], set()).add(len(words))

    def _own(self, gram: int, problem: int) -> None:
        owners = self._grams.get(gram)
        if owners is None:
            self._grams[gram] = problem
        elif isinstance(owners, int):
            self._grams[gram] = (owners, problem)
        elif len(owners) <= 2 * COMMON:  # beyond that the words are common whatever else has them
            self._grams[gram] = (*owners, problem)

    def found_in(self, data: Mapping[str, Any], field: str) -> str | None:
        """The suite of a problem that a record contains, or whose wording it has; None where it is clean."""
        written = (self._problems[place] for place in self._places(data, field))
        return next((suite for suite, _ in chain(written, self._asked(data, field))), None)

    def hits(self, data: Mapping[str, Any], field: str) -> set[Hit]:
        """The problems that a record contains, as far as its words tell which they are."""
        places = set(self._places(data, field, telling=True))
        return {*(self._problems[place] for place in places), *self._asked(data, field)}

    def checkable(self) -> set[Hit]:
        """The problems that `hits` can find: the others have too few words in a row, or none of their own."""
        telling = {place for owners in self._grams.values() for place in self._telling(owners)}
        return {*(self._problems[place] for place in telling), *(hit for of in self._questions.values() for hit in of)}

    def _places(self, data: Mapping[str, Any], field: str, *, telling: bool = False) -> Iterator[int]:
        if not self._grams:
            return
        for gram in _grams(_words(_texts(data, field)), self._ngram):
            owners = self._grams.get(gram)
            if owners is not None:
                yield from self._telling(owners) if telling else (owners,) if isinstance(owners, int) else owners

    def _telling(self, owners: int | tuple[int, ...]) -> Iterator[int]:
        if isinstance(owners, int):
            yield owners
            return
        suites = Counter(self._problems[place][0] for place in owners)
        yield from (place for place in owners if suites[self._problems[place][0]] <= COMMON)

    def _asked(self, data: Mapping[str, Any], field: str) -> Iterator[Hit]:
        for instance in data.get("instances") or ():
            if instance in self._instances:
                yield self._instances[instance]
        words = _signs(_texts(data, field)) if self._questions else []
        for place in range(len(words) - _OPENING + 1):
            for length in self._openings.get(tuple(words[place : place + _OPENING]), ()):
                yield from self._questions.get(tuple(words[place : place + length]), ())


def _texts(data: Mapping[str, Any], field: str) -> str:
    messages = data.get("messages")
    if not isinstance(messages, list):
        return content(data, field)
    said = [str(message.get("content") or "") for message in messages if isinstance(message, Mapping)]
    return "\n".join([*said, str(data.get("reasoning") or "")])


def _words(text: str) -> list[str]:
    """Lower-case words and numbers: neither spacing nor punctuation hides a copy."""
    return re.findall(r"\w+", text.lower())


def _signs(text: str) -> list[str]:
    """The same with signs: 3 - 4 is not 3 + 4."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


def _grams(words: Sequence[str], n: int) -> Iterator[int]:
    # Built-in hashes of tuples of strings differ between processes: the set lives and dies with one.
    return (hash(tuple(words[at : at + n])) for at in range(len(words) - n + 1))
