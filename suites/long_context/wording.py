"""The words that haystacks and needles are made of: names, values, and essays that are about nothing in particular."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Collection, Iterator

from suites.quick.generator import words

_ADJECTIVES = words(
    "able ample amber arctic autumn bare bitter blank blunt bold brave brief bright brisk broad calm careful cheap "
    "chilly civil clean clever close cloudy coarse cold common cosmic crisp curious daily damp dark dear deep dense "
    "dim direct dry dull dusty eager early eastern easy elder empty equal exact faint fair false famous fancy fast "
    "fierce final fine firm flat fluent fond formal frail frank free fresh frosty full gentle giant glad golden good "
    "grand grave great green grim gross hard harsh hasty hazy heavy hidden high hollow honest huge humble hungry icy "
    "idle inner jolly keen kind large late lazy lean light little lively lone long loose loud loyal lucky mad main "
    "major"
)
_NOUNS = words(
    "acorn anchor apple arch arrow badge bakery barrel basin basket beacon beetle bell bench bottle branch bread "
    "bridge broom brush bucket button cabin candle canvas canyon carpet castle cedar cellar chain chair chalk cherry "
    "circle clock cloud coast coin copper coral corner cottage cotton cradle crane crown cup curtain dawn desert "
    "diamond door dragon drum eagle earth echo engine falcon feather fence fern field flame flute forest fountain "
    "garden gate glacier glove grain grove hammer harbor harvest hill honey island ivory jacket jewel kettle key "
    "kitchen ladder lagoon lake lamp lantern leaf lemon lily lizard maple marble market meadow mirror mountain needle "
    "nest oak ocean olive orchard otter owl paddle palace paper pebble pencil pepper piano pigeon pillow pine planet "
    "plum pocket pond prairie quartz quilt rabbit raft raven ribbon river robin rocket saddle sail sandal shadow "
    "shell silver spoon spring"
)

NOISE = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
"""RULER's repeated haystack."""

_WHO = (
    "a founder", "a teacher", "a painter", "a reader", "most people", "a careful editor", "the engineer",
    "a small team", "the oldest member", "a visitor", "anyone who writes", "the first customer",
    "a young scientist", "the committee", "a good carpenter", "the gardener", "an honest critic", "the village",
    "a traveller", "the translator", "a patient student", "the librarian", "a retired captain",
)  # fmt: skip
_DOES = (
    "learns to see", "rarely questions", "begins with", "returns to", "cannot afford to ignore",
    "pays little attention to", "is surprised by", "slowly discovers", "has to explain", "depends on",
    "argues about", "keeps a record of", "prefers", "remembers", "underestimates", "borrows from", "works around",
    "is proud of", "loses interest in", "rewrites", "measures", "is persuaded by",
)  # fmt: skip
_WHAT = (
    "the shape of the problem", "an idea that looked too simple", "the habits of a city",
    "the work of earlier days", "a question nobody asked", "the cost of being wrong", "what friends would notice",
    "a draft that was thrown away", "the difference between taste and fashion",
    "the patience that a craft demands", "the tools at hand", "an old argument",
    "the value of doing things slowly", "a rule that everyone repeats", "the part that seems boring",
    "a promise made in haste", "the long afternoon of practice", "what the market has not yet understood",
    "the quiet part of the conversation", "a machine that almost works", "the story behind a name",
    "the weather of the place", "an unexpected letter",
)  # fmt: skip
_WHEN = (
    "In the beginning", "After a while", "On most days", "When the season turns", "Before anything else",
    "As a rule", "Now and then", "In a large company", "Among friends", "In theory", "At the end of the week",
    "For a long time", "Looking back", "Even so", "In the best cases", "Against all advice", "Without much noise",
    "Every few years", "By the second attempt",
)  # fmt: skip
_WHY = (
    "because nothing else holds attention for so long", "though few would admit it",
    "and the rest follows from that", "which is why advice sounds strange", "and it shows in the result",
    "even when the outcome is certain", "because the alternative is to guess", "as if no one had tried before",
    "and that turns out to be enough", "while others look for a shortcut", "which makes the next step easier",
    "but only for those who stay", "and the effort is seldom visible", "because small things add up",
    "until it feels natural",
)  # fmt: skip


def essay(rng: random.Random) -> Iterator[str]:
    """Sentences without end, with neither numbers nor names in them."""
    while True:
        when, who, does = rng.choice(_WHEN), rng.choice(_WHO), rng.choice(_DOES)
        what, why = rng.choice(_WHAT), rng.choice(_WHY)
        form = rng.randrange(3)
        if form == 0:
            yield f"{when} {who} {does} {what}, {why}."
        elif form == 1:
            yield f"{who[0].upper()}{who[1:]} {does} {what}, {why}."
        else:
            yield f"{when} {what} matters more than {rng.choice(_WHAT)}, {why}."


def number(rng: random.Random) -> str:
    """Seven digits."""
    return str(rng.randint(1_000_000, 9_999_999))


def two_words(rng: random.Random) -> str:
    """An adjective and a noun, as RULER's keys are: one of some 16,000."""
    return f"{rng.choice(_ADJECTIVES)}-{rng.choice(_NOUNS)}"


def identifier(rng: random.Random) -> str:
    """A UUID of version 4."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def word(rng: random.Random) -> str:
    """A compound of two nouns: one of some 15,000, for lists of thousands of different words."""
    return rng.choice(_NOUNS) + rng.choice(_NOUNS)


def letters(rng: random.Random, count: int, *, upper: bool = False) -> str:
    """A made-up word of so many letters."""
    found = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(count))
    return found.upper() if upper else found


def different(draw: Callable[[], str], count: int, taken: Collection[str] = ()) -> list[str]:
    """So many draws that are unlike each other and what is taken."""
    found: dict[str, None] = {}
    while len(found) < count:
        drawn = draw()
        if drawn not in taken:
            found[drawn] = None
    return list(found)
