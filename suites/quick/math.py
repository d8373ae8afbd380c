r"""quick_math: arithmetic and word problems of one to three steps; working a step a line, the answer boxed."""

from __future__ import annotations

import operator
import random

from sandboxes.check import MathCheck
from suites.quick.generator import TINY, Instance, QuickSuite, Template

NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana")
THINGS = ("apples", "books", "coins", "shells", "cards", "pens", "nuts", "beads")


_SIGNS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.floordiv}


def _instance(template: str, level: int, numbers: tuple[object, ...], ask: str, steps: list[str]) -> Instance:
    """Steps are equations `a + b = c`; what the last one comes to is the answer."""
    answer = steps[-1].rpartition(" = ")[2]
    working = "\n".join(steps)
    return Instance(
        template=template,
        level=level,
        key=f"{template}:{numbers}",
        ask=ask,
        check=MathCheck(kind="math", answer=answer, limits=TINY),
        gold=f"{working}\n\\boxed{{{answer}}}",
    )


def _eq(left: int, sign: str, right: int) -> tuple[str, int]:
    """The equation as text, and its value."""
    value = _SIGNS[sign](left, right)
    return f"{left} {sign} {right} = {value}", value


def _plain(name: str, sign: str, left: tuple[int, int], right: tuple[int, int]) -> Template:
    def draw(rng: random.Random, number: int) -> Instance:
        a, b = rng.randint(*left), rng.randint(*right)
        if sign == "-":
            a, b = max(a, b), min(a, b)
        if sign == "/":
            a = a * b
        return _instance(name, 1, (a, b), f"What is {a} {sign} {b}?", [_eq(a, sign, b)[0]])

    return draw


def _nested(name: str, first: str, second: str) -> Template:
    """(a first b) second c, with the brackets written."""

    def draw(rng: random.Random, number: int) -> Instance:
        a, b, c = rng.randint(2, 30), rng.randint(2, 12), rng.randint(2, 12)
        if first == "-":
            a += b
        one, middle = _eq(a, first, b)
        c = min(c, middle) if second == "-" else c
        two, _ = _eq(middle, second, c)
        return _instance(name, 2, (a, b, c), f"What is ({a} {first} {b}) {second} {c}?", [one, two])

    return draw


def _precedence(rng: random.Random, number: int) -> Instance:
    a, b, c = rng.randint(2, 60), rng.randint(2, 12), rng.randint(2, 12)
    one, product = _eq(b, "*", c)
    two, _ = _eq(a, "+", product)
    return _instance("precedence", 2, (a, b, c), f"What is {a} + {b} * {c}?", [one, two])


def _brackets_twice(rng: random.Random, number: int) -> Instance:
    a, b, c, d = (rng.randint(2, 12) for _ in range(4))
    one, left = _eq(a, "+", b)
    two, right = _eq(c, "+", d)
    three, _ = _eq(left, "*", right)
    return _instance("brackets", 3, (a, b, c, d), f"What is ({a} + {b}) * ({c} + {d})?", [one, two, three])


def _remainder(rng: random.Random, number: int) -> Instance:
    a, b = rng.randint(10, 199), rng.randint(3, 12)
    one, product = _eq(b, "*", a // b)
    two, _ = _eq(a, "-", product)
    return _instance("remainder", 2, (a, b), f"What is the remainder of {a} divided by {b}?", [one, two])


def _next_in_sequence(rng: random.Random, number: int) -> Instance:
    start, by = rng.randint(1, 60), rng.randint(2, 15)
    terms = [start + by * place for place in range(4)]
    shown = ", ".join(map(str, terms))
    one, _ = _eq(terms[1], "-", terms[0])
    two, _ = _eq(terms[3], "+", by)
    return _instance("sequence", 2, (start, by), f"Which number comes next: {shown}?", [one, two])


def _who(rng: random.Random) -> tuple[str, str]:
    return rng.choice(NAMES), rng.choice(THINGS)


def _gets_more(rng: random.Random, number: int) -> Instance:
    (name, things), a, b = _who(rng), rng.randint(2, 60), rng.randint(2, 40)
    ask = f"{name} has {a} {things} and gets {b} more. How many {things} does {name} have now?"
    return _instance("gets_more", 1, (name, things, a, b), ask, [_eq(a, "+", b)[0]])


def _gives_away(rng: random.Random, number: int) -> Instance:
    (name, things), b, rest = _who(rng), rng.randint(2, 40), rng.randint(1, 40)
    ask = f"{name} has {b + rest} {things} and gives {b} away. How many {things} are left?"
    return _instance("gives_away", 1, (name, things, rest, b), ask, [_eq(b + rest, "-", b)[0]])


def _boxes(rng: random.Random, number: int) -> Instance:
    (name, things), a, b = _who(rng), rng.randint(2, 9), rng.randint(3, 12)
    c = rng.randint(1, a * b - 1)
    one, total = _eq(a, "*", b)
    two, _ = _eq(total, "-", c)
    ask = f"{name} has {a} boxes with {b} {things} in each and loses {c} {things}. How many {things} are left?"
    return _instance("boxes", 2, (name, things, a, b, c), ask, [one, two])


def _shares(rng: random.Random, number: int) -> Instance:
    (name, things), friends, each, own = _who(rng), rng.randint(2, 9), rng.randint(2, 9), rng.randint(1, 30)
    one, part = _eq(friends * each, "/", friends)
    two, _ = _eq(own, "+", part)
    ask = (
        f"{friends} friends share {friends * each} {things} equally. {name} is one of them and had {own} {things} "
        f"before. How many {things} does {name} have now?"
    )
    return _instance("shares", 2, (name, things, friends, each, own), ask, [one, two])


def _buys(rng: random.Random, number: int) -> Instance:
    name = rng.choice(NAMES)
    first, second = rng.sample(THINGS, 2)
    a, b, c, d = rng.randint(2, 9), rng.randint(2, 9), rng.randint(2, 9), rng.randint(2, 9)
    one, left = _eq(a, "*", b)
    two, right = _eq(c, "*", d)
    three, _ = _eq(left, "+", right)
    ask = f"{name} buys {a} {first} for {b} euros each and {c} {second} for {d} euros each. How many euros is that?"
    return _instance("buys", 3, (name, first, second, a, b, c, d), ask, [one, two, three])


def _change(rng: random.Random, number: int) -> Instance:
    (name, things), a, b, c = _who(rng), rng.randint(2, 9), rng.randint(2, 9), rng.randint(1, 9)
    paid = rng.randint(a * b + c, a * b + c + 30)
    one, cost = _eq(a, "*", b)
    two, total = _eq(cost, "+", c)
    three, _ = _eq(paid, "-", total)
    ask = (
        f"{name} buys {a} {things} for {b} euros each and a bag for {c} euros, and pays with {paid} euros. "
        "How many euros come back?"
    )
    return _instance("change", 3, (name, things, a, b, c, paid), ask, [one, two, three])


def _times_as_many(rng: random.Random, number: int) -> Instance:
    first, second = rng.sample(NAMES, 2)
    things, a, k, more = rng.choice(THINGS), rng.randint(2, 20), rng.randint(2, 6), rng.randint(1, 20)
    one, other = _eq(a, "*", k)
    two, bigger = _eq(other, "+", more)
    three, _ = _eq(bigger, "+", a)
    ask = (
        f"{first} has {a} {things}. {second} has {k} times as many, and finds {more} more. "
        f"How many {things} do they have together?"
    )
    return _instance("times_as_many", 3, (first, second, things, a, k, more), ask, [one, two, three])


class QuickMath(QuickSuite):
    """Eighteen templates; judged as mathematics."""

    name = "quick_math"
    category = "math"
    summary = "generated arithmetic and word problems"
    templates = (
        _plain("add", "+", (2, 199), (2, 199)),
        _plain("subtract", "-", (2, 199), (2, 199)),
        _plain("multiply", "*", (2, 60), (2, 25)),
        _plain("divide", "/", (2, 60), (2, 25)),
        _nested("sum_times", "+", "*"),
        _nested("product_less", "*", "-"),
        _nested("difference_times", "-", "*"),
        _precedence,
        _remainder,
        _next_in_sequence,
        _brackets_twice,
        _gets_more,
        _gives_away,
        _boxes,
        _shares,
        _buys,
        _change,
        _times_as_many,
    )
