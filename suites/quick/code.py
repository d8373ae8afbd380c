"""quick_code: tiny Python functions that chain one to three described steps; judged by their results.

A step is words, a line of code and what it does, written side by side; expected values come from the last, and
`suites validate` runs the code to show that the two agree.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sandboxes.check import Answer, CallsCheck
from suites.code.program import program_of
from suites.problem import Problem
from suites.quick.generator import TINY, Instance, QuickSuite, Template


@dataclass(frozen=True, slots=True)
class Step:
    """One thing done to `x`: how it is said, how it is written, what it does."""

    words: str
    code: str
    do: Callable[[Any], Any]

    def on(self, name: str) -> str:
        """The code with another variable in the place of x."""
        return re.sub(r"\bx\b", name, self.code)


INTEGERS = (-17, -4, -1, 0, 1, 2, 3, 6, 10, 25)
LISTS: tuple[list[int], ...] = ([], [4], [3, 1, 2], [-2, 5, 4, -7, 8], [9, 9, 0, 1], [12, -5, 6, 6, 3, 10])
STRINGS = ("", "a", "stone", "Blue Sky", "banana", "Code Red", "xyzzy")
LETTERS = "abcdenorst"


def _number_step(rng: random.Random) -> Step:
    k = rng.randint(2, 12)
    return rng.choice(
        (
            Step(f"add {k}", f"x + {k}", lambda x: x + k),
            Step(f"subtract {k}", f"x - {k}", lambda x: x - k),
            Step(f"multiply by {k}", f"x * {k}", lambda x: x * k),
            Step(f"divide by {k}, rounding down", f"x // {k}", lambda x: x // k),
            Step(f"take the remainder by {k}", f"x % {k}", lambda x: x % k),
            Step(f"take the larger of it and {k}", f"max(x, {k})", lambda x: max(x, k)),
            Step(f"take the smaller of it and {k}", f"min(x, {k})", lambda x: min(x, k)),
            Step("square it", "x * x", lambda x: x * x),
            Step("change its sign", "-x", lambda x: -x),
            Step("take the absolute value", "abs(x)", abs),
        )
    )


def _keeping_step(rng: random.Random) -> Step:
    k = rng.randint(-3, 9)
    return rng.choice(
        (
            Step("keep the even numbers", "[n for n in x if n % 2 == 0]", lambda x: [n for n in x if n % 2 == 0]),
            Step("keep the odd numbers", "[n for n in x if n % 2 == 1]", lambda x: [n for n in x if n % 2 == 1]),
            Step(f"keep the numbers above {k}", f"[n for n in x if n > {k}]", lambda x: [n for n in x if n > k]),
            Step(f"keep the numbers below {k}", f"[n for n in x if n < {k}]", lambda x: [n for n in x if n < k]),
            Step(f"drop each {k}", f"[n for n in x if n != {k}]", lambda x: [n for n in x if n != k]),
        )
    )


def _changing_step(rng: random.Random) -> Step:
    k = rng.randint(2, 9)
    return rng.choice(
        (
            Step(f"add {k} to each number", f"[n + {k} for n in x]", lambda x: [n + k for n in x]),
            Step(f"multiply each number by {k}", f"[n * {k} for n in x]", lambda x: [n * k for n in x]),
            Step("square each number", "[n * n for n in x]", lambda x: [n * n for n in x]),
            Step("sort it", "sorted(x)", sorted),
            Step("sort it from high to low", "sorted(x, reverse=True)", lambda x: sorted(x, reverse=True)),
            Step("reverse it", "x[::-1]", lambda x: x[::-1]),
            Step(f"keep the first {k}", f"x[:{k}]", lambda x: x[:k]),
            Step(f"append {k}", f"x + [{k}]", lambda x: [*x, k]),
        )
    )


def _ending_step(rng: random.Random) -> Step:
    k = rng.randint(1, 9)
    return rng.choice(
        (
            Step("take the sum", "sum(x)", sum),
            Step("count the items", "len(x)", len),
            Step(f"take the sum and add {k}", f"sum(x) + {k}", lambda x: sum(x) + k),
            Step("take the largest, or 0 if there is none", "max(x, default=0)", lambda x: max(x, default=0)),
            Step("take the smallest, or 0 if there is none", "min(x, default=0)", lambda x: min(x, default=0)),
            Step(f"say whether {k} is in it", f"{k} in x", lambda x: k in x),
        )
    )


def _text_step(rng: random.Random) -> Step:
    k, a = rng.randint(2, 4), rng.choice(LETTERS)
    b = rng.choice([letter for letter in LETTERS if letter != a])
    return rng.choice(
        (
            Step("reverse it", "x[::-1]", lambda x: x[::-1]),
            Step("make it upper case", "x.upper()", str.upper),
            Step("make it lower case", "x.lower()", str.lower),
            Step(f"keep the first {k} letters", f"x[:{k}]", lambda x: x[:k]),
            Step(f"keep the last {k} letters", f"x[-{k}:]", lambda x: x[-k:]),
            Step(f"repeat it {k} times", f"x * {k}", lambda x: x * k),
            Step(f"replace each '{a}' by '{b}'", f"x.replace('{a}', '{b}')", lambda x: x.replace(a, b)),
            Step(f"remove each '{a}'", f"x.replace('{a}', '')", lambda x: x.replace(a, "")),
            Step(f"put '{a}' in front", f"'{a}' + x", lambda x: a + x),
            Step(f"put '{a}' at the end", f"x + '{a}'", lambda x: x + a),
        )
    )


def _text_ending_step(rng: random.Random) -> Step:
    a = rng.choice(LETTERS)
    return rng.choice(
        (
            Step("count the letters", "len(x)", len),
            Step(f"count each '{a}'", f"x.count('{a}')", lambda x: x.count(a)),
            Step(f"say whether '{a}' is in it", f"'{a}' in x", lambda x: a in x),
            Step(f"say whether it begins with '{a}'", f"x.startswith('{a}')", lambda x: x.startswith(a)),
            Step("split it at spaces", "x.split()", str.split),
        )
    )


def _function(template: str, level: int, of: str, steps: Sequence[Step], inputs: Sequence[Any]) -> Instance:
    said = ", then ".join(step.words for step in steps)
    lines = [*(f"x = {step.code}" for step in steps[:-1]), f"return {steps[-1].code}"]
    expected = []
    for value in inputs:
        for step in steps:
            value = step.do(value)
        expected.append(value)
    return _instance(template, level, said, f"takes {of} x: {said}. It returns the result.", lines, inputs, expected)


def _instance(
    template: str, level: int, key: str, asked: str, lines: list[str], inputs: Sequence[Any], expected: list[Any]
) -> Instance:
    body = "\n".join(f"    {line}" for line in lines)
    return Instance(
        template=template,
        level=level,
        key=f"{template}:{key}",
        ask=f"Write a Python function f that {asked}",
        check=CallsCheck(
            kind="calls", entry_point="f", calls=[[value] for value in inputs], expected=expected, limits=TINY
        ),
        gold=f"```python\ndef f(x):\n{body}\n```",
    )


def _numbers(template: str, level: int) -> Template:
    def draw(rng: random.Random, number: int) -> Instance:
        steps = [_number_step(rng) for _ in range(level)]
        return _function(template, level, "an integer", steps, INTEGERS)

    return draw


def _lists(template: str, level: int, *kinds: Callable[[random.Random], Step]) -> Template:
    def draw(rng: random.Random, number: int) -> Instance:
        return _function(template, level, "a list of integers", [kind(rng) for kind in kinds], LISTS)

    return draw


def _texts(template: str, level: int, *kinds: Callable[[random.Random], Step]) -> Template:
    def draw(rng: random.Random, number: int) -> Instance:
        return _function(template, level, "a string", [kind(rng) for kind in kinds], STRINGS)

    return draw


def _either(rng: random.Random, number: int) -> Instance:
    """One step above a bound, another below."""
    k, above, below = rng.randint(-3, 12), _number_step(rng), _number_step(rng)
    said = f"if x is above {k}, {above.words}; else {below.words}"
    lines = [f"if x > {k}:", f"    return {above.code}", f"return {below.code}"]
    expected = [above.do(x) if x > k else below.do(x) for x in INTEGERS]
    return _instance(
        "either", 3, said, f"takes an integer x: {said}. It returns the result.", lines, INTEGERS, expected
    )


def _words(rng: random.Random, number: int) -> Instance:
    """One text step for every word of a sentence."""
    step, glue = _text_step(rng), rng.choice(("-", "_", "+", "/", " "))
    said = f"in each word, {step.words}, then join the words with '{glue}'"
    inputs = ("", "a", "one two", "Blue Sky now", "red  green")
    expected = [glue.join(step.do(word) for word in text.split()) for text in inputs]
    lines = [f"words = [{step.on('w')} for w in x.split()]", f"return '{glue}'.join(words)"]
    return _instance("words", 3, said, f"takes a string x: {said}. It returns the result.", lines, inputs, expected)


class QuickCode(QuickSuite):
    """Ten templates, from one step to three and a choice."""

    name = "quick_code"
    category = "code"
    summary = "tiny generated Python functions"
    metric = "pass@1"
    templates = (
        _numbers("numbers_1", 1),
        _numbers("numbers_2", 2),
        _numbers("numbers_3", 3),
        _either,
        _lists("lists_2", 2, _keeping_step, _ending_step),
        _lists("lists_3", 3, _keeping_step, _changing_step, _ending_step),
        _lists("reshape", 2, _changing_step, _changing_step),
        _texts("texts_2", 2, _text_step, _text_step),
        _texts("texts_3", 3, _text_step, _text_step, _text_ending_step),
        _words,
    )

    def answer(self, problem: Problem, text: str, tool_calls: Sequence[dict[str, Any]] = ()) -> Answer:
        """The program."""
        return program_of(text, "f")
