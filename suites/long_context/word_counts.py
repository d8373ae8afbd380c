"""RULER's aggregation tasks: the words that are most common in a list, and those most frequent in a coded text."""

from __future__ import annotations

import random
from math import pi

from suites.long_context.task import Instance, LongContext
from suites.long_context.wording import different, letters, word
from suites.sampling import Sampling

_OPENING = 12
"""Rare words that stand first, in the same order at every length: by them a copy is known."""


class CommonWords(LongContext):
    """Ten words 30 times each among words that stand there three times, after a short worked example."""

    name = "ruler_common_words"
    summary = "RULER: the ten most common words of a list"
    sampling = Sampling(max_tokens=120)
    guess = 50
    letters_a_token = 2.5
    common = 10
    often, seldom = 30, 3
    example_often, example_seldom, example_rare = 3, 1, 10

    @classmethod
    def instance(cls, rng: random.Random, tokens: int) -> Instance:
        """The common words first; a piece of filler is one more rare word."""
        known = different(lambda: word(rng), 2 * cls.common + cls.example_rare + _OPENING)
        common, shown = known[: cls.common], known[cls.common : 2 * cls.common]
        rare_shown, opening = known[2 * cls.common : -_OPENING], known[-_OPENING:]
        example_list = _shuffled(shown * cls.example_often + rare_shown * cls.example_seldom, rng)
        example = f"{_list_ask(example_list)} {_LIST_PREFIX} {_numbered(shown)}"
        order, rare_seed = rng.random(), rng.random()

        def make(pieces: int) -> str:
            # Drawn anew for each length: the first of them are the same ones.
            draw = random.Random(rare_seed)
            rare = different(lambda: word(draw), pieces, frozenset(known))
            rest = common * cls.often + rare * cls.seldom + opening * (cls.seldom - 1)
            return f"{example}\n{_list_ask([*opening, *_shuffled(rest, random.Random(order))])}"

        return Instance(tuple(common), make, _LIST_PREFIX, _numbered(opening))


class FrequentWords(LongContext):
    """Three words of a text of made-up ones, whose frequencies fall with the square of their rank (RULER's alpha 2)."""

    name = "ruler_frequent_words"
    summary = "RULER: the three most frequent words of a coded text"
    sampling = Sampling(max_tokens=50)
    guess = 1100
    letters_a_token = 5.0
    noise = "...."
    """Stands in the place of the most frequent word, and is to be ignored."""

    @classmethod
    def instance(cls, rng: random.Random, tokens: int) -> Instance:
        """The words by rank first; a piece of filler is one more word of the text."""
        # As many different words as RULER has, and no fewer than the opening takes.
        ranked = different(lambda: letters(rng, 6), max(tokens // 50, 4 + _OPENING))
        answers, opening = tuple(ranked[:3]), ranked[3 : 3 + _OPENING]
        order = rng.random()

        def make(pieces: int) -> str:
            shares = ((rank, pieces * 6 / pi**2 / rank**2) for rank in range(1, len(ranked) + 2))
            rest: list[str] = []
            for rank, share in shares:
                rest += [cls.noise if rank == 1 else ranked[rank - 2]] * max(round(share), 0)
            text = " ".join([*opening, *_shuffled(rest, random.Random(order))])
            return (
                "Read the following coded text and track the frequency of each coded word. Find the three most "
                f"frequently appeared coded words. {text}\nQuestion: Do not provide any explanation. Please ignore the "
                f"dots '{cls.noise}'. What are the three most frequently appeared words in the above coded text?"
            )

        prefix = "Answer: According to the coded text above, the three most frequently appeared words are:"
        return Instance(answers, make, prefix, " ".join(opening))


_LIST_PREFIX = "Answer: The top 10 words that appear most often in the list are:"


def _list_ask(words: list[str]) -> str:
    return (
        "Below is a numbered list of words. In these words, some appear more often than others. Memorize the ones that "
        f"appear most often.\n{_numbered(words)}\n"
        "Question: What are the 10 most common words in the above list?"
    )


def _numbered(words: list[str]) -> str:
    return " ".join(f"{number}. {one}" for number, one in enumerate(words, 1))


def _shuffled(words: list[str], rng: random.Random) -> list[str]:
    found = list(words)
    rng.shuffle(found)
    return found
