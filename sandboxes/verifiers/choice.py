"""Multiple choice: the letter that a completion names, by documented patterns only."""

from __future__ import annotations

from sandboxes.check import Answer, ChoiceCheck
from sandboxes.extract import choice_letter
from sandboxes.sandbox import Sandbox
from sandboxes.verdict import Verdict
from sandboxes.verifiers.completion import answer_part, judged, unparsed


class ChoiceVerifier:
    """Compares letters. Nothing is run, so it needs no sandbox."""

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        del sandbox

    async def verify(self, check: ChoiceCheck, answer: Answer) -> Verdict:
        """Judge one completion; no letter, or more than one, is `unparsed`."""
        text = answer_part(answer)
        if isinstance(text, Verdict):
            return text
        letter = choice_letter(text, check.choices)
        if letter is None:
            return unparsed("no letter is stated, or more than one")
        return judged(letter == check.answer, f"chose {letter}, expected {check.answer}", extracted=letter)
