"""What multiple-choice suites share: lettered choices, how a chat model is asked, how gold is written."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from suites.problem import Message, Prompt

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_T = TypeVar("_T")


def lettered(question: str, choices: Sequence[str]) -> str:
    """A question, and a line `A. …` for each choice."""
    lines = [f"{mark}. {choice.strip()}" for mark, choice in zip(LETTERS, choices, strict=False)]
    return "\n".join([question.strip(), *lines])


def ask_for_letter(ask: str, introduction: str = "", *, reasoned: bool = False) -> Prompt:
    """A chat prompt that says how the answer is to be given."""
    how = "Reason step by step, and end" if reasoned else "End"
    head = f"{introduction}\n\n" if introduction else ""
    return Prompt(
        messages=(
            Message("user", f'{head}{ask}\n\n{how} your reply with "Answer: " and the letter of the right choice.'),
        )
    )


def rank_letters(text: str, count: int) -> Prompt:
    """A base model ranks the letters after a text that ends in `Answer:`."""
    return Prompt(text=text, choices=tuple(f" {letter}" for letter in LETTERS[:count]))


def gold_letter(letter: str) -> str:
    """Gold as a model would write it."""
    return f"Answer: {letter}"


def shuffled(items: Sequence[_T], seed: str) -> list[_T]:
    """The items in an order that only the seed decides: where the data has the right one always first."""
    order = list(items)
    random.Random(seed).shuffle(order)
    return order
