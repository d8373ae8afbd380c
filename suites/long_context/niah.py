"""RULER's needles in a haystack: find what the text says of a key, or of several, among others that look like it.

Prompts are worded as RULER's are. Its essays are an author's whose texts are not ours to ship: sentences generated here
stand in their place, so `single_2`, `single_3`, `multikey_1`, `multivalue` and `multiquery` are not its very texts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import ClassVar, Literal

from suites.long_context.task import Instance, LongContext
from suites.long_context.wording import NOISE, different, essay, identifier, number, two_words
from suites.sampling import Sampling

_DRAW: dict[str, Callable[[random.Random], str]] = {"words": two_words, "numbers": number, "uuids": identifier}


class Needles(LongContext):
    """One setting of RULER's generator, whose parameters the class variables are."""

    sampling = Sampling(max_tokens=128)
    haystack: ClassVar[Literal["noise", "essay", "needles"]] = "essay"
    keys_are: ClassVar[str] = "words"
    values_are: ClassVar[str] = "numbers"
    keys: ClassVar[int] = 1
    """Keys that have a needle; in a haystack of needles all the others have one too."""
    values: ClassVar[int] = 1
    """Values of each."""
    queries: ClassVar[int] = 1
    """Keys that are asked for."""
    guess = 130
    letters_a_token = 4.1

    @classmethod
    def instance(cls, rng: random.Random, tokens: int) -> Instance:
        """Keys, values and depths first, the haystack after them."""
        keys = different(lambda: _DRAW[cls.keys_are](rng), cls.keys)
        values = different(lambda: _DRAW[cls.values_are](rng), cls.keys * cls.values)
        of_key = {key: values[at * cls.values : (at + 1) * cls.values] for at, key in enumerate(keys)}
        needles = [cls._needle(key, value) for key in keys for value in of_key[key]]
        depths = [rng.random() for _ in needles]
        asked = keys[: cls.queries]
        answers = tuple(value for key in asked for value in of_key[key])
        hay = _Hay(cls._filler(random.Random(rng.random()), {*keys}, {*values}))

        def make(pieces: int) -> str:
            text = list(hay.first(pieces))
            for depth, needle in sorted(zip(depths, needles, strict=True), reverse=True):
                text.insert(round(depth * pieces), needle)
            between = " " if cls.haystack == "essay" else "\n"
            return cls._ask(between.join(text), asked)

        several = len(answers) > 1
        prefix = (
            f"The special magic {cls._kind(several)} for {_listed(asked)} mentioned in the provided text "
            f"{'are' if several else 'is'}"
        )
        return Instance(answers, make, prefix, needles[0], {"depths": [round(depth, 3) for depth in depths]})

    @classmethod
    def _kind(cls, several: bool) -> str:
        return cls.values_are if several else cls.values_are.removesuffix("s")

    @classmethod
    def _needle(cls, key: str, value: str) -> str:
        return f"One of the special magic {cls.values_are} for {key} is: {value}."

    @classmethod
    def _ask(cls, context: str, asked: list[str]) -> str:
        several = cls.queries * cls.values > 1
        kind = cls._kind(several)
        return (
            f"{'Some' if several else 'A'} special magic {kind} {'are' if several else 'is'} hidden within the "
            f"following text. Make sure to memorize it. I will quiz you about the {kind} afterwards.\n{context}\n"
            f"What {'are all' if several else 'is'} the special magic {kind} for {_listed(asked)} mentioned in the "
            "provided text?"
        )

    @classmethod
    def _filler(cls, rng: random.Random, keys: set[str], values: set[str]) -> Iterator[str]:
        if cls.haystack == "noise":
            return (NOISE for _ in count())
        return essay(rng) if cls.haystack == "essay" else cls._others(rng, keys, values)

    @classmethod
    def _others(cls, rng: random.Random, keys: set[str], values: set[str]) -> Iterator[str]:
        seen = set(keys)
        while True:
            (key,) = different(lambda: _DRAW[cls.keys_are](rng), 1, seen)
            (value,) = different(lambda: _DRAW[cls.values_are](rng), 1, values)
            seen.add(key)
            yield cls._needle(key, value)


class _Hay:
    """Pieces of filler, made once and as far as they are asked for."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces, self._made = pieces, list[str]()

    def first(self, number: int) -> list[str]:
        self._made.extend(islice(self._pieces, max(0, number - len(self._made))))
        return self._made[:number]


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])}, and {names[-1]}"


class Single1(Needles):
    """The plainest."""

    name = "ruler_niah_single_1"
    summary = "RULER: one needle, a word's number, in one repeated sentence"
    haystack = "noise"
    letters_a_token = 3.3


class Single2(Needles):
    """In an essay."""

    name = "ruler_niah_single_2"
    summary = "RULER: one needle, a word's number, in essays"


class Single3(Needles):
    """With a value that cannot be guessed from its beginning."""

    name = "ruler_niah_single_3"
    summary = "RULER: one needle, a word's UUID, in essays"
    values_are = "uuids"


class Multikey1(Needles):
    """Three needles distract."""

    name = "ruler_niah_multikey_1"
    summary = "RULER: one needle of four in essays"
    keys = 4


class Multikey2(Needles):
    """All the haystack distracts."""

    name = "ruler_niah_multikey_2"
    summary = "RULER: one needle in a haystack of needles, words and numbers"
    haystack = "needles"
    letters_a_token = 3.2


class Multikey3(Needles):
    """Keys and values that look alike."""

    name = "ruler_niah_multikey_3"
    summary = "RULER: one needle in a haystack of needles, UUIDs both"
    haystack = "needles"
    keys_are = values_are = "uuids"
    guess = 50
    letters_a_token = 1.8


class Multivalue(Needles):
    """All of them are wanted."""

    name = "ruler_niah_multivalue"
    summary = "RULER: the four values of one key in essays"
    values = 4


class Multiquery(Needles):
    """All of them are wanted."""

    name = "ruler_niah_multiquery"
    summary = "RULER: the values of four keys in essays"
    keys = queries = 4
