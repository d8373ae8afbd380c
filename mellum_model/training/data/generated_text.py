"""Text without a corpus: little stories, Python functions with what they give, sums. Endless, varied, all of it true.

Each generator is a sequence of records made from their number alone, so that a stream can go on anywhere. Code is
built together with what it does: a printed result is computed, never guessed, and nothing is evaluated.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

DEFAULT_SIZE = 20_000
Make = Callable[[random.Random], str]


class Numbered(Sequence[Mapping[str, Any]]):
    """Records by number: the same number always gives the same record."""

    def __init__(self, name: str, make: Make, size: int, seed: int) -> None:
        self._name, self._make, self._size, self._seed = name, make, size, seed

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mapping[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(self._size))]
        if not 0 <= index < self._size:
            raise IndexError(index)
        return {"text": self._make(random.Random(f"{self._name}/{self._seed}/{index}"))}


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# --- stories ---

_NAMES = _words("Ada Ben Cleo Dan Eva Finn Gus Hana Ines Jack Kira Leo Mia Noah Olga Pia Rolf Sara Tom Uma")
_ANIMALS = _words("cat dog horse bird fox mouse goat duck hen bee owl frog")
_PLACES = _words("garden market school river mill farm woods tower harbour kitchen attic bridge meadow island")
THINGS = _words("book coin shell card pen lamp cup key map rope basket candle apple egg hat drum kite ring stone bell")
_KINDS = _words("old new small big red blue green bright heavy light round soft warm cold quiet lost")
_FEELINGS = _words("happy sad tired proud angry curious afraid calm hungry glad")
_TIMES = ("in the morning", "at noon", "in the evening", "at night", "after the rain", "in winter", "one day", "later")
_GOING = _words("walked ran went hurried returned")
_DOING = _words("found lost carried hid painted cleaned sold bought washed mended")
_SAYING = _words("said asked answered shouted whispered")


def story(rng: random.Random) -> str:
    """Four to nine sentences about two people, a thing and an animal, which keep their names and places."""
    first, second = rng.sample(_NAMES, 2)
    thing, kind, animal = rng.choice(THINGS), rng.choice(_KINDS), rng.choice(_ANIMALS)
    here, there = rng.sample(_PLACES, 2)
    feeling, count = rng.choice(_FEELINGS), rng.randint(2, 12)
    sentences = [
        f"{first} lived near the {here} and had a {kind} {thing}.",
        f"{rng.choice(_TIMES).capitalize()} {first} {rng.choice(_GOING)} to the {there}.",
        f"There was a {rng.choice(_KINDS)} {animal}, and it was {feeling}.",
        f"{second} {rng.choice(_DOING)} the {thing} and put it in the {rng.choice(_PLACES)}.",
        f'"Where is my {thing}?" {rng.choice(_SAYING)} {first}.',
        f'"The {animal} took it to the {there}," {rng.choice(_SAYING)} {second}.',
        f"They counted {count} {rng.choice(_ANIMALS)}s by the {here}, then {count + 1}.",
        f"{first} and {second} were {rng.choice(_FEELINGS)}, because the {thing} was {kind}.",
        f"So {first} gave the {thing} to {second} and {rng.choice(_GOING)} back to the {here}.",
        f"The {animal} was {feeling} no more.",
        f"If it is {rng.choice(_KINDS)}, it is not {rng.choice(_KINDS)}, {second} thought.",
        f"Every {rng.choice(_ANIMALS)} in the {there} is {rng.choice(_KINDS)} or {rng.choice(_KINDS)}.",
    ]
    kept = sorted(rng.sample(range(1, len(sentences)), rng.randint(3, 8)))
    return " ".join([sentences[0], *(sentences[place] for place in kept)])


# --- Python ---

Step = tuple[str, str, Callable[[Any], Any]]
"""What is done, as words and as code on x, and the doing."""


def _number(rng: random.Random) -> Step:
    k = rng.randint(2, 12)
    return rng.choice(
        (
            (f"add {k}", f"x + {k}", lambda x: x + k),
            (f"subtract {k}", f"x - {k}", lambda x: x - k),
            (f"multiply by {k}", f"x * {k}", lambda x: x * k),
            (f"divide by {k} and round down", f"x // {k}", lambda x: x // k),
            (f"the remainder by {k}", f"x % {k}", lambda x: x % k),
            (f"at least {k}", f"max(x, {k})", lambda x: max(x, k)),
            (f"at most {k}", f"min(x, {k})", lambda x: min(x, k)),
            ("its square", "x * x", lambda x: x * x),
            ("without its sign", "abs(x)", abs),
            ("with the other sign", "-x", lambda x: -x),
        )
    )


def _list(rng: random.Random) -> Step:
    k = rng.randint(1, 9)
    return rng.choice(
        (
            ("only even numbers", "[n for n in x if n % 2 == 0]", lambda x: [n for n in x if n % 2 == 0]),
            ("only odd numbers", "[n for n in x if n % 2 == 1]", lambda x: [n for n in x if n % 2 == 1]),
            (f"only numbers above {k}", f"[n for n in x if n > {k}]", lambda x: [n for n in x if n > k]),
            (f"only numbers below {k}", f"[n for n in x if n < {k}]", lambda x: [n for n in x if n < k]),
            (f"each plus {k}", f"[n + {k} for n in x]", lambda x: [n + k for n in x]),
            (f"each times {k}", f"[n * {k} for n in x]", lambda x: [n * k for n in x]),
            ("sorted", "sorted(x)", sorted),
            ("backwards", "x[::-1]", lambda x: x[::-1]),
            (f"the first {k}", f"x[:{k}]", lambda x: x[:k]),
            (f"with {k} at the end", f"x + [{k}]", lambda x: [*x, k]),
        )
    )


def _list_end(rng: random.Random) -> Step:
    k = rng.randint(1, 9)
    return rng.choice(
        (
            ("their sum", "sum(x)", sum),
            ("how many they are", "len(x)", len),
            ("the largest of them", "max(x, default=0)", lambda x: max(x, default=0)),
            ("the smallest of them", "min(x, default=0)", lambda x: min(x, default=0)),
            (f"whether {k} is there", f"{k} in x", lambda x: k in x),
        )
    )


def _text(rng: random.Random) -> Step:
    a, b = rng.sample("abcdenorst", 2)
    k = rng.randint(2, 4)
    return rng.choice(
        (
            ("backwards", "x[::-1]", lambda x: x[::-1]),
            ("in upper case", "x.upper()", str.upper),
            ("in lower case", "x.lower()", str.lower),
            (f"its first {k} letters", f"x[:{k}]", lambda x: x[:k]),
            (f"its last {k} letters", f"x[-{k}:]", lambda x: x[-k:]),
            (f"{k} times", f"x * {k}", lambda x: x * k),
            (f"{b} for {a}", f"x.replace('{a}', '{b}')", lambda x: x.replace(a, b)),
            (f"after a {a}", f"'{a}' + x", lambda x: a + x),
            (f"before a {a}", f"x + '{a}'", lambda x: x + a),
        )
    )


def _text_end(rng: random.Random) -> Step:
    a = rng.choice("abcdenorst")
    return rng.choice(
        (
            ("how long it is", "len(x)", len),
            (f"how often it has {a}", f"x.count('{a}')", lambda x: x.count(a)),
            (f"whether it begins with {a}", f"x.startswith('{a}')", lambda x: x.startswith(a)),
            ("its words", "x.split()", str.split),
        )
    )


_INPUTS: tuple[tuple[str, str, tuple[Any, ...]], ...] = (
    ("a number", "int", (-8, -3, 0, 1, 4, 7, 15, 30)),
    ("a list of numbers", "list", ([], [5], [1, 2, 3, 4], [8, -2, 5], [7, 7, 0, 3], [10, 4, -6])),
    ("a text", "str", ("", "tree", "Red Sun", "a b c", "window", "No One")),
)
_FUNCTIONS = _words("f g h run make change step give work calc apply turn")


def function(rng: random.Random) -> str:
    """A function of one to three steps with a docstring, then calls and what they give."""
    said, kind, inputs = rng.choice(_INPUTS)
    count = rng.randint(1, 3)
    if kind == "int":
        steps = [_number(rng) for _ in range(count)]
    else:
        middle, end = (_list, _list_end) if kind == "list" else (_text, _text_end)
        steps = [middle(rng) for _ in range(count - 1)] + [(end if rng.random() < 0.6 else middle)(rng)]
    name = rng.choice(_FUNCTIONS)
    doc = ", then ".join(step[0] for step in steps)
    lines = [f"def {name}(x):", f'    """Of {said}: {doc}."""']
    lines += [f"    x = {code}" for _, code, _ in steps[:-1]]
    lines += [f"    return {steps[-1][1]}", "", ""]
    for value in rng.sample(inputs, 2):
        result = value
        for _, _, do in steps:
            result = do(result)
        lines.append(f"assert {name}({value!r}) == {result!r}")
    return "\n".join(lines) + "\n"


def condition(rng: random.Random) -> str:
    """A function that chooses between two steps, or a loop that adds up; then calls and what they give."""
    name, k = rng.choice(_FUNCTIONS), rng.randint(-3, 12)
    above, below = _number(rng), _number(rng)
    if rng.random() < 0.5:
        lines = [f"def {name}(x):", f"    if x > {k}:", f"        return {above[1]}", f"    return {below[1]}", "", ""]
        for value in rng.sample(_INPUTS[0][2], 2):
            lines.append(f"assert {name}({value}) == {(above[2] if value > k else below[2])(value)}")
    else:
        lines = [f"def {name}(numbers):", "    total = 0", "    for x in numbers:", f"        total += {above[1]}"]
        lines += ["    return total", "", ""]
        for values in rng.sample(_INPUTS[1][2], 2):
            lines.append(f"assert {name}({values}) == {sum(above[2](value) for value in values)}")
    return "\n".join(lines) + "\n"


def code(rng: random.Random) -> str:
    """One to three functions in a file."""
    makers = rng.choices((function, condition), (4, 1), k=rng.randint(1, 3))
    return "\n\n".join(make(rng) for make in makers)


# --- sums ---

_SIGNS: Mapping[str, Callable[[int, int], int]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}


def _equation(rng: random.Random) -> str:
    sign = rng.choice("+-*/")
    if sign in "+-":
        a, b = rng.randint(1, 220), rng.randint(1, 220)
        a, b = (max(a, b), min(a, b)) if sign == "-" else (a, b)
        return f"{a} {sign} {b} = {_SIGNS[sign](a, b)}"
    a, b = rng.randint(2, 60), rng.randint(2, 25)
    if rng.random() < 0.6:
        a, b = rng.randint(2, 12), rng.randint(2, 12)
    return f"{a} * {b} = {a * b}" if sign == "*" else f"{a * b} / {b} = {a}"


def _reckoning(rng: random.Random) -> str:
    name, thing, a, b = rng.choice(_NAMES), rng.choice(THINGS), rng.randint(2, 60), rng.randint(2, 40)
    c = rng.randint(2, 9)
    return rng.choice(
        (
            f"{name} has {a} {thing}s and finds {b}. {a} + {b} = {a + b}, so now there are {a + b}.",
            f"{name} has {a + b} {thing}s and loses {b}. {a + b} - {b} = {a}, so {a} are left.",
            f"{c} boxes with {b} {thing}s each: {c} * {b} = {c * b} {thing}s.",
            f"{c * b} {thing}s for {c} people: {c * b} / {c} = {b} for each.",
            f"{a * c + 1} is more than {a * c}, and {a} is less than {a + b}.",
            f"After {a} comes {a + 1}, before {a} comes {a - 1}; {a} is {'even' if a % 2 == 0 else 'odd'}.",
            f"({a} + {b}) * {c} = {a + b} * {c} = {(a + b) * c}",
            f"{b} * {c} + {a} = {b * c} + {a} = {b * c + a}",
        )
    )


def sums(rng: random.Random) -> str:
    """Six to sixteen equations and sentences that reckon."""
    lines = [_equation(rng) if rng.random() < 0.7 else _reckoning(rng) for _ in range(rng.randint(6, 16))]
    return "\n".join(lines)


# --- long documents ---


def needle(rng: random.Random) -> str:
    """A story in which a number is told once and asked for at the end."""
    name, thing, number = rng.choice(_NAMES), rng.choice(THINGS), rng.randint(100, 999)
    parts = [story(rng) for _ in range(rng.randint(2, 14))]
    parts.insert(rng.randint(0, len(parts)), f"The secret number of the {thing} is {number}.")
    return " ".join(parts) + f"\nThe secret number of the {thing} is {number}.\n{name} knows it."


def copied(rng: random.Random) -> str:
    """A list of things, a story, and the list again."""
    listed = [f"{rng.choice(_KINDS)} {thing}" for thing in rng.sample(THINGS, rng.randint(4, 8))]
    text = " ".join(story(rng) for _ in range(rng.randint(1, 10)))
    line = "List: " + ", ".join(listed) + "."
    return f"{line}\n{text}\nThe same list again.\n{line}"


def long_text(rng: random.Random) -> str:
    """What needs a long context: something told early that is needed late."""
    return needle(rng) if rng.random() < 0.5 else copied(rng)


_MAKERS: Mapping[str, Make] = {"stories": story, "code": code, "sums": sums, "long_text": long_text}


def _generator(name: str) -> Callable[[str, Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
    def make(split: str, options: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        unknown = set(options) - {"size", "seed"}
        if unknown:
            raise ValueError(f"no such option: {', '.join(sorted(unknown))}; there are size and seed")
        return Numbered(
            f"{name}/{split}", _MAKERS[name], int(options.get("size", DEFAULT_SIZE)), options.get("seed", 0)
        )

    return make


GENERATORS = {name: _generator(name) for name in _MAKERS}
"""By the names that recipes use; the caller may hand in more."""
