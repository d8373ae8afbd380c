"""Reasoning in completions, alike however a server or a chat template spells it.

There are three spellings: `<think>…</think>` in the text, a field beside it, and a template that writes the opening
tag into the prompt, so that the completion has only the closing one. A completion of the third kind that was cut off
has no tag at all and would pass for an answer: it gets the opening tag back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sandboxes.extract.reasoning import split

OPENING, CLOSING = "<think>", "</think>"


def opened(rendered: str) -> bool:
    """Whether a rendered prompt ends inside reasoning."""
    return rendered.rstrip().endswith(OPENING)


def reopened(text: str) -> str:
    """A completion whose prompt ended inside reasoning, with the tag that the prompt has."""
    return text if text.lstrip().startswith(OPENING) else f"{OPENING}\n{text}"


def thought(text: str, reasoning: str | None) -> str:
    """The reasoning of a completion: all of it where it never closed."""
    if reasoning is None and OPENING not in text and CLOSING not in text:
        return ""
    found = split(text, reasoning)
    return found.reasoning if found.answer is not None or found.reasoning else text


def counted(tokens: Mapping[str, int], text: str, reasoning: str | None, count: Callable[[str], int]) -> dict[str, int]:
    """Token counts with those of the reasoning apart (`reasoning`, which are part of `completion`), if not known yet.

    Args:
        tokens: Counts so far.
        text: The completion.
        reasoning: As split off by a server.
        count: Tokens of a text.
    """
    if "reasoning" in tokens or not (found := thought(text, reasoning)):
        return dict(tokens)
    whole = tokens.get("completion")
    number = count(found)
    return {**tokens, "reasoning": number if whole is None else min(number, whole)}


def estimated(tokens: Mapping[str, int], text: str, reasoning: str | None) -> dict[str, int]:
    """`counted` without a tokenizer, by the share of characters; under a name of its own, since it is a guess."""
    whole = tokens.get("completion")
    if "reasoning" in tokens or whole is None or not (found := thought(text, reasoning)):
        return dict(tokens)
    # Where the server split, its text is the answer alone; else the text has both.
    length = len(text) + len(reasoning or "")
    return {**tokens, "reasoning_estimated": min(whole, round(whole * len(found) / max(1, length)))}
