"""Equal strings after normalisation.

The whole answer is compared first; where that differs, the final answer that the completion states ("The answer is …",
a box) is. Both are what the model said, so this is no second guess.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from typing import Final

from sandboxes.check import Answer, ExactCheck
from sandboxes.extract import final_answer, number
from sandboxes.sandbox import Sandbox
from sandboxes.verdict import Verdict, infra_error
from sandboxes.verifiers.completion import answer_part, judged, shown, unparsed

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _whitespace(text: str) -> str:
    return " ".join(text.split())


def _casefold(text: str) -> str:
    return _whitespace(text).casefold()


def _number(text: str) -> str | None:
    value = number(text)
    return None if value is None else str(value)


def _squad(text: str) -> str:
    """SQuAD's rule: lower case, no punctuation, no articles, single spaces."""
    return _whitespace(re.sub(r"\b(?:a|an|the)\b", " ", text.lower().translate(_NO_PUNCTUATION)))


NORMALISERS: Final[dict[str, Callable[[str], str | None]]] = {
    "none": lambda text: text,
    "whitespace": _whitespace,
    "casefold": _casefold,
    "number": _number,
    "squad": _squad,
}
"""What both sides go through; None where the text is not of the kind (no number)."""


class ExactVerifier:
    """Compares strings. Nothing is run, so it needs no sandbox."""

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        del sandbox

    async def verify(self, check: ExactCheck, answer: Answer) -> Verdict:
        """Judge one completion."""
        normalise = NORMALISERS[check.normalise]
        expected = normalise(check.answer)
        if expected is None:
            return infra_error(f"the check's answer {shown(check.answer)} is not a number")
        text = answer_part(answer)
        if isinstance(text, Verdict):
            return text
        whole = normalise(text)
        stated = None
        if whole != expected and (final := final_answer(text)) is not None:
            stated = normalise(final)
        if whole is None and stated is None:
            return unparsed("no number is stated")
        found = stated if stated is not None else whole or ""
        return judged(
            expected in (whole, stated), f"got {shown(found)}, expected {shown(check.answer)}", extracted=found[:1000]
        )
