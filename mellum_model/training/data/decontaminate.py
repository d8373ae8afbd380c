"""What training must not contain: the problems of every registered suite.

Written benchmarks are found by n-grams of words, as GPT-3's and later reports do: a document that shares one with a
problem is dropped. Generated suites share their wording with the training instances of the same generator, so n-grams
would drop everything: their problems are found as instances, by id where a record carries one and by the whole
question anywhere in any text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .dedup import content

_OPENING = 3
"""Words by which a question's beginning is found before the whole is compared."""


@dataclass(frozen=True, slots=True)
class SuiteIndex:
    """What the suites ask, as the caller hands it in.

    Attributes:
        written: Suite → texts of its problems (question, and the answer where it is a text of its own).
        questions: Generated suite → questions of its held-out problems.
        instances: Ids of held-out instances.
        missing: Suites whose data is not at hand: nothing is checked against them, and the audit says so.
    """

    written: Mapping[str, Sequence[str]] = field(default_factory=dict)
    questions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    instances: frozenset[str] = frozenset()
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
        self._instances = index.instances
        self._grams: dict[int, str] = {}
        for suite, texts in index.written.items():
            for text in texts:
                for gram in _grams(_words(text), ngram):
                    self._grams.setdefault(gram, suite)
        self._questions: dict[tuple[str, ...], str] = {}
        self._openings: dict[tuple[str, ...], set[int]] = {}
        for suite, texts in index.questions.items():
            for text in texts:
                words = tuple(_signs(text))
                if len(words) < _OPENING:
                    continue
                self._questions[words] = suite
                self._openings.setdefault(words[:_OPENING], set()).add(len(words))

    def found_in(self, data: Mapping[str, Any], field: str) -> str | None:
        """The suite of a problem that a record contains, or None."""
        for instance in data.get("instances") or ():
            if instance in self._instances:
                return str(instance).split("/")[0]
        text = _texts(data, field)
        for gram in _grams(_words(text), self._ngram) if self._grams else ():
            if gram in self._grams:
                return self._grams[gram]
        words = _signs(text)
        for place in range(len(words) - _OPENING + 1) if self._questions else ():
            for length in self._openings.get(tuple(words[place : place + _OPENING]), ()):
                suite = self._questions.get(tuple(words[place : place + length]))
                if suite is not None:
                    return suite
        return None


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
