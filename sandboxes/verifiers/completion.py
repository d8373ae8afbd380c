"""What the verifiers of completions share: the answer's part of the text, or the verdict that there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandboxes.check import Answer
from sandboxes.extract import split
from sandboxes.verdict import Outcome, Verdict

MAX_CHARACTERS = 1_000_000
"""A longer completion is not judged: it is `unparsed`. About 250,000 tokens, twice Mellum 2's context; everything that
reads completions is linear in their length, so this bounds the time one of them can take to a few seconds."""

SHOWN = 200
"""Characters of an extracted answer that messages and evidence show."""


def answer_part(answer: Answer) -> str | Verdict:
    """The completion without its reasoning, or an `unparsed` verdict."""
    if not isinstance(answer, str):
        return unparsed("the completion must be text")
    if len(answer) > MAX_CHARACTERS:
        return unparsed(f"the completion has {len(answer):,} characters; at most {MAX_CHARACTERS:,} are judged")
    text = split(answer).answer
    if text is None:
        return unparsed("the reasoning was never closed, so there is no answer")
    if not text.strip():
        return unparsed("the answer is empty")
    return text


def unparsed(why: str) -> Verdict:
    """No answer was found: score 0."""
    return Verdict(Outcome.UNPARSED, 0.0, message=why)


def judged(right: bool, message: str = "", parts: Mapping[str, float] | None = None, **evidence: Any) -> Verdict:
    """Passed or failed as one test, with evidence."""
    return Verdict(
        Outcome.PASSED if right else Outcome.FAILED,
        float(right),
        int(right),
        1,
        "" if right else message,
        parts=parts or {},
        evidence=evidence,
    )


def shown(text: str) -> str:
    """A short form for messages, with control characters escaped."""
    short = text if len(text) <= SHOWN else text[:SHOWN] + "…"
    return repr(short)
