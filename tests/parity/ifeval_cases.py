"""Responses to judge for parity with IFEval's own rules: each prompt's, made to nearly or fully follow it.

Standard library only: the reference's own environment imports it too.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

PER_PROMPT = 4
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PROSE = [
    "The quick brown fox jumps over the lazy dog and then it sleeps for hours",
    "Everybody knows that the weather in the mountains changes without warning",
    "I would like to tell you about my trip to the north, where winters are long",
    "She asked why the old bridge had been closed, but nobody could answer her",
    "Our team has worked hard this year, and the results speak for themselves",
]
SHOUTED = [
    "NASA",
    "DON'T",
    "HELLO!",
    "A-B",
    "OK, FINE",
    "I'M",
    "C:3",
    '"WHAT?"',
    "GONNA",
    "U.S.A.",
    "(YES)",
    "X1",
    "CAN'T.",
]
FOREIGN = [
    "Das ist ein ganz gewöhnlicher deutscher Satz, der nichts Besonderes sagt",
    "La vie est belle et nous aimons nous promener dans les rues de la ville",
    "यह एक साधारण वाक्य है जो हिंदी में लिखा गया है और कुछ खास नहीं कहता",
    "これは日本語で書かれた普通の文章です。特に意味はありません",
]


class Case(NamedTuple):
    key: int
    prompt: str
    ids: list[str]
    kwargs: list[dict[str, Any]]
    response: str


def comparable(name: str, kwargs: dict[str, Any]) -> bool:
    """Not sentences (trained data), nor signs that are no letters (random in the reference)."""
    if name == "length_constraints:number_sentences":
        return False
    return name != "keywords:letter_frequency" or kwargs["letter"].lower() in LETTERS


def cases(data_dir: Path) -> Iterator[Case]:
    lines = (data_dir / "ifeval" / "input_data.jsonl").read_text("utf-8").splitlines()
    for row in map(json.loads, lines):
        kept = [(i, k) for i, k in zip(row["instruction_id_list"], row["kwargs"], strict=True) if comparable(i, k)]
        kept = [(i, {key: v for key, v in k.items() if v is not None}) for i, k in kept]
        if kept:
            draw = random.Random(row["key"])
            for _ in range(PER_PROMPT):
                yield Case(
                    row["key"], row["prompt"], [i for i, _ in kept], [k for _, k in kept], _response(kept, row, draw)
                )


def _response(kept: list[tuple[str, dict[str, Any]]], row: dict[str, Any], draw: random.Random) -> str:
    parts = [draw.choice(PROSE) + draw.choice([".", "!", "?", "", "..."]) for _ in range(draw.randint(1, 12))]
    if draw.random() < 0.1:
        parts = draw.choices(FOREIGN, k=3)
    text = draw.choice(["\n\n", "\n", " ", "\n***\n"]).join(parts)
    for name, k in kept:
        if draw.random() < 0.75:
            text = _towards(name, k, text, draw)
    if draw.random() < 0.2:
        text = "Here you are:\n" + text
    return text


def _towards(name: str, k: dict[str, Any], text: str, draw: random.Random) -> str:
    off = draw.choice([0, 0, 0, 1, -1])
    short = name.split(":")[1]
    if short in ("existence", "forbidden_words"):
        words = k.get("keywords") or k["forbidden_words"]
        return text + " " + " ".join(draw.sample(words, draw.randint(0, len(words)))) + draw.choice(["", "s", "."])
    if short == "frequency":
        return text + f" {k['keyword']}" * max(0, k["frequency"] + off)
    if short == "letter_frequency":
        return text + k["letter"] * max(0, k["let_frequency"] + off)
    if short == "english_capital":
        return text.upper()
    if short == "english_lowercase":
        return text.lower()
    if short == "capital_word_frequency":
        return text + " " + " ".join(draw.choice(SHOUTED) for _ in range(max(0, k["capital_frequency"] + off)))
    if short == "number_words":
        return text + " word" * max(0, k["num_words"] + off * 5 - len(text.split()))
    if short == "number_paragraphs":
        return draw.choice(["\n***\n", "***", "\n\n***\n\n", "*** "]).join(["A part."] * (k["num_paragraphs"] + off))
    if short == "nth_paragraph_first_word":
        made = ["Some words"] * (k["num_paragraphs"] + off)
        if 0 < k["nth_paragraph"] <= len(made):
            made[k["nth_paragraph"] - 1] = draw.choice(["", "'", '"', "The "]) + k["first_word"].title() + ", yes"
        return "\n\n".join(made) + draw.choice(["", "\n\n", "\n\n\n\nmore"])
    if short == "number_placeholders":
        return text + " [name] [] [two words] [[in]]"[: draw.randint(0, 30)] + " [x]" * (k["num_placeholders"] + off)
    if short == "postscript":
        return (
            text + "\n\n" + draw.choice([k["postscript_marker"], "p.s. hello", "P. P. S. x", "PS: x", "P.S x"]) + " bye"
        )
    if short == "number_bullet_lists":
        marks = ["* a", "- b", "  * c", "** d", "*", "*e*", "-", "\t- f"]
        return text + "\n" + "\n".join(draw.choice(marks) for _ in range(k["num_bullets"] + off))
    if short == "constrained_response":
        return draw.choice(
            ["My answer is yes.", "my answer is yes.", "My answer is maybe", "I say: My answer is no. OK"]
        )
    if short == "number_highlighted_sections":
        return text + " ".join(
            draw.choice(["*a b*", "**c**", "* *", "***d***", "****"]) for _ in range(k["num_highlights"] + off)
        )
    if short == "multiple_sections":
        sign = k["section_spliter"]
        return "\n".join(
            f"{draw.choice([sign, sign.lower()])} {n}\ntext" for n in range(1, k["num_sections"] + off + 1)
        )
    if short == "json_format":
        body = draw.choice(['{"a": [1, 2]}', '{"a": 1,}', '"x"', "NaN", "text", "[" * 50 + "]" * 50])
        return draw.choice(["```json\n{}\n```", "```\n{}```", "{}", "```python\n{}\n```", "```JSON{}"]).replace(
            "{}", body
        )
    if short == "title":
        return (
            draw.choice(["<<A title>>\n", "<<>>", "<< >>", "<<<x>>>", "<<a\nb>>", ">>x<<", "<<a>> <<", "<<>>>"]) + text
        )
    if short == "two_responses":
        return draw.choice(["one ****** two", "one******one", "******one******two******", "a ****** ****** b", "a"])
    if short == "repeat_prompt":
        return (
            draw.choice([k["prompt_to_repeat"], k["prompt_to_repeat"].upper(), "So: " + k["prompt_to_repeat"]])
            + "\n"
            + text
        )
    if short == "end_checker":
        return text + draw.choice(["", " "]) + k["end_phrase"] + draw.choice(["", '"', "\n", ".", " bye"])
    if short == "quotation":
        return draw.choice(['"{}"', ' "{}" ', '"{}', "“{}”", '"']).replace("{}", text)
    if short == "no_comma":
        return text.replace(",", "") if off == 0 else text
    if short == "response_language":
        return text if off else draw.choice(FOREIGN)
    raise ValueError(f"no way towards {name}")
