"""quick_chat: one or two instructions on the form of a short answer, of the kinds that IFEval checks.

Only kinds that need no language detector and no sentence splitter are used: on answers of ten words those guess.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sandboxes.check import InstructionsCheck
from suites.quick.generator import TINY, Instance, QuickSuite, Template, words

TOPICS = words(
    "rain snow wind fire stone sand moss bread salt honey milk tea paper ink glass rope wool clay boats birds "
    "cats horses bees trees roads towers songs maps clocks lamps doors bells"
)
QUALITIES = words("old new warm cold soft hard light heavy slow fast quiet loud bright dark small wide")
MARKERS = words("apple river candle window garden silver winter ladder button pocket")

AVOIDED = words("very really quite maybe just simply often never always almost")
"""Words that other instructions do not ask for."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One instruction: IFEval's id and arguments, how it is said, and what it does to a plain answer."""

    kind: str
    arguments: dict[str, Any]
    said: str
    obey: Callable[[str], str]


def _bullets(rng: random.Random, topic: str) -> Ask:
    n = rng.randint(2, 5)
    points = "\n".join(f"* {topic} {quality}" for quality in rng.sample(QUALITIES, n))
    return Ask(
        "detectable_format:number_bullet_lists",
        {"num_bullets": n},
        f"Give exactly {n} bullet points, each on a line that begins with '* '.",
        lambda text: points,
    )


def _title(rng: random.Random, topic: str) -> Ask:
    return Ask(
        "detectable_format:title",
        {},
        "Give it a title in double angle brackets, like <<this>>.",
        lambda text: f"<<{topic}>>\n{text}",
    )


def _highlights(rng: random.Random, topic: str) -> Ask:
    n = rng.randint(1, 3)
    marked = " ".join(f"*{quality}*" for quality in rng.sample(QUALITIES, n))
    return Ask(
        "detectable_format:number_highlighted_sections",
        {"num_highlights": n},
        f"Highlight at least {n} parts with single asterisks, like *this*.",
        lambda text: f"{text} {marked}",
    )


def _placeholders(rng: random.Random, topic: str) -> Ask:
    n = rng.randint(1, 4)
    slots = " ".join(f"[{marker}]" for marker in rng.sample(MARKERS, n))
    return Ask(
        "detectable_content:number_placeholders",
        {"num_placeholders": n},
        f"Use at least {n} placeholders in square brackets, like [name].",
        lambda text: f"{text} {slots}",
    )


def _postscript(rng: random.Random, topic: str) -> Ask:
    quality = rng.choice(QUALITIES)
    return Ask(
        "detectable_content:postscript",
        {"postscript_marker": "P.S."},
        "Add a postscript that begins with P.S.",
        lambda text: f"{text}\nP.S. {topic} can be {quality}",
    )


def _keywords(rng: random.Random, topic: str) -> Ask:
    words = rng.sample(MARKERS, rng.randint(1, 3))
    return Ask(
        "keywords:existence",
        {"keywords": words},
        f"Use the words {', '.join(words)}.",
        lambda text: f"{text} {' '.join(words)}",
    )


def _frequency(rng: random.Random, topic: str) -> Ask:
    word, n = rng.choice(MARKERS), rng.randint(2, 5)
    return Ask(
        "keywords:frequency",
        {"keyword": word, "frequency": n, "relation": "at least"},
        f"Use the word {word} at least {n} times.",
        lambda text: f"{text} {' '.join([word] * n)}",
    )


def _forbidden(rng: random.Random, topic: str) -> Ask:
    avoided = rng.sample(AVOIDED, rng.randint(1, 3))
    return Ask(
        "keywords:forbidden_words",
        {"forbidden_words": avoided},
        f"Do not use the words {', '.join(avoided)}.",
        lambda text: text,
    )


def _no_comma(rng: random.Random, topic: str) -> Ask:
    return Ask("punctuation:no_comma", {}, "Use no commas.", lambda text: text)


def _few_words(rng: random.Random, topic: str) -> Ask:
    n = rng.randint(20, 40)
    return Ask(
        "length_constraints:number_words",
        {"relation": "less than", "num_words": n},
        f"Use less than {n} words.",
        lambda text: text,
    )


def _many_words(rng: random.Random, topic: str) -> Ask:
    n = rng.randint(6, 14)
    more = " ".join(QUALITIES[place % len(QUALITIES)] for place in range(n))
    return Ask(
        "length_constraints:number_words",
        {"relation": "at least", "num_words": n},
        f"Use at least {n} words.",
        lambda text: f"{text} {more}",
    )


def _quoted(rng: random.Random, topic: str) -> Ask:
    return Ask("startend:quotation", {}, "Put the whole answer in double quotation marks.", lambda text: f'"{text}"')


def _ending(rng: random.Random, topic: str) -> Ask:
    phrase = f"That is all about {topic}."
    return Ask(
        "startend:end_checker",
        {"end_phrase": phrase},
        f"End with exactly this: {phrase}",
        lambda text: f"{text}\n{phrase}",
    )


_Maker = Callable[[random.Random, str], Ask]

_SHAPES: Sequence[_Maker] = (_bullets, _many_words, _few_words)
_CONTENTS: Sequence[_Maker] = (_keywords, _frequency, _placeholders, _highlights)
_FRAMES: Sequence[_Maker] = (_title, _postscript, _ending, _quoted)
_LIMITS: Sequence[_Maker] = (_no_comma, _forbidden)
"""From each of these at most one instruction, applied in this order, so that no gold answer breaks another's."""


def _template(template: str, level: int, *groups: Sequence[_Maker]) -> Template:
    def draw(rng: random.Random, number: int) -> Instance:
        topic, quality = rng.choice(TOPICS), rng.choice(QUALITIES)
        asks = [rng.choice(group)(rng, topic) for group in groups]
        gold = f"{topic} can be {quality}"
        for each in asks:
            gold = each.obey(gold)
        said = " ".join(each.said for each in asks)
        ask = f"Write about {topic}. {said}"
        return Instance(
            template=template,
            level=level,
            key=f"{topic}:{[(each.kind, each.arguments) for each in asks]}",
            ask=ask,
            check=InstructionsCheck(
                kind="instructions",
                prompt=ask,
                instruction_id_list=[each.kind for each in asks],
                kwargs=[each.arguments for each in asks],
                limits=TINY,
            ),
            gold=gold,
        )

    return draw


class QuickChat(QuickSuite):
    """Six templates of one to three instructions."""

    name = "quick_chat"
    category = "chat"
    summary = "generated instructions on an answer's form"
    metric = "prompt_strict"
    templates = (
        _template("shape", 1, _SHAPES),
        _template("content", 1, _CONTENTS),
        _template("frame", 1, _FRAMES),
        _template("shape_and_limit", 2, _SHAPES, _LIMITS),
        _template("content_and_frame", 2, _CONTENTS, _FRAMES),
        _template("three", 3, _CONTENTS, _FRAMES, _LIMITS),
    )
