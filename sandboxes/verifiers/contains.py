"""String match: how many of the wanted strings stand in the answer.

RULER's `string_match_all` and `string_match_part`: control characters become line breaks, case does not count, and a
string counts wherever it stands. BFCL's rule for agents (`words`) leaves out ``,./-_*^()`` on both sides, takes single
quotes for double ones, and wants whole words.
"""

from __future__ import annotations

import re

from sandboxes.check import Answer, ContainsCheck
from sandboxes.sandbox import Sandbox
from sandboxes.verdict import Outcome, Verdict
from sandboxes.verifiers.completion import answer_part, shown

_CONTROL = re.compile(r"[\x00-\x1f]")
_LEFT_OUT = str.maketrans({**dict.fromkeys(",./-_*^()"), "'": '"'})


class ContainsVerifier:
    """Looks for strings. Nothing is run, so it needs no sandbox."""

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        del sandbox

    async def verify(self, check: ContainsCheck, answer: Answer) -> Verdict:
        """Judge one completion."""
        text = answer_part(answer)
        if isinstance(text, Verdict):
            return text
        if check.match == "words":
            return _as_words(check.answers, text)
        said = _CONTROL.sub("\n", text).lower()
        absent = [wanted for wanted in check.answers if wanted.lower() not in said]
        there, total = len(check.answers) - len(absent), len(check.answers)
        if check.match == "part":
            there, total = int(there > 0), 1
        if there == total:
            return Verdict(Outcome.PASSED, 1.0, there, total)
        first = ", ".join(shown(wanted) for wanted in absent[:4])
        message = f"{len(absent)} of {len(check.answers)} are not in the answer: {first}"
        return Verdict(Outcome.FAILED, there / total, there, total, message)


def _as_words(answers: list[str], text: str) -> Verdict:
    said = text.translate(_LEFT_OUT).lower()
    wanted = (answer.translate(_LEFT_OUT).lower() for answer in answers)
    if any(re.search(rf"\b{re.escape(words)}\b", said) for words in wanted):
        return Verdict(Outcome.PASSED, 1.0, 1, 1)
    return Verdict(Outcome.FAILED, 0.0, 0, 1, f"not in the answer: {', '.join(map(shown, answers[:4]))}")
