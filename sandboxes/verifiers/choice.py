"""Multiple choice: the letter that a completion states, by documented patterns only, or the likeliest ranked choice.

Ranked choices are judged from their log-likelihoods as lm-evaluation-harness does: `acc` by the sum, `acc_norm` by the
sum over the choice's number of characters, `acc_bytes` by that over its number of UTF-8 bytes, `mass` as the share of
the choices' probability that is on right ones (TruthfulQA's MC2). The first of equals counts. All are parts of the
verdict where they have a meaning; the check says which one decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sandboxes.check import Answer, ChoiceCheck
from sandboxes.extract import choice_letter
from sandboxes.sandbox import Sandbox
from sandboxes.verdict import Outcome, Verdict
from sandboxes.verifiers.completion import answer_part, judged, unparsed


class ChoiceVerifier:
    """Compares letters. Nothing is run, so it needs no sandbox."""

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        del sandbox

    async def verify(self, check: ChoiceCheck, answer: Answer) -> Verdict:
        """Judge one completion (no letter, or more than one, is `unparsed`), or one number for each choice."""
        if isinstance(answer, (tuple, list)):
            return _ranked(check, answer)
        text = answer_part(answer)
        if isinstance(text, Verdict):
            return text
        letter = choice_letter(text, check.choices)
        if letter is None:
            return unparsed("no letter is stated, or more than one")
        right = letter in check.answer + check.also
        return judged(right, f"chose {letter}, expected {_expected(check)}", extracted=letter)


def _ranked(check: ChoiceCheck, values: Sequence[object]) -> Verdict:
    numbers = [float(value) for value in values if isinstance(value, (int, float)) and not math.isnan(value)]
    if len(numbers) != len(values) or len(numbers) != check.choices:
        return unparsed(f"{check.choices} log-likelihoods are wanted, one a choice, and none of them nan")
    right = {ord(letter) - ord("A") for letter in check.answer + check.also}
    chosen = {"acc": _best(numbers)}
    if check.texts:
        chosen["acc_norm"] = _best([n / len(text) for n, text in zip(numbers, check.texts, strict=True)])
        chosen["acc_bytes"] = _best([n / len(text.encode()) for n, text in zip(numbers, check.texts, strict=True)])
    parts = {name: float(best in right) for name, best in chosen.items()}
    decisive = chosen["acc_norm" if check.rank_by == "characters" else "acc"]
    letter = chr(ord("A") + decisive)
    message = f"ranked {letter} first, expected {_expected(check)}"
    if check.rank_by != "mass":
        verdict = judged(decisive in right, message, extracted=letter)
        score = float(decisive in right)
    else:
        score = parts["mass"] = _mass(numbers, right)
        verdict = judged(score > 0.5, f"{score:.3f} of the probability is on right choices", extracted=letter)
    # Where only sums count, acc is the score itself and no part beside it.
    return Verdict(
        Outcome.PASSED if verdict.passed else Outcome.FAILED,
        score,
        verdict.tests_passed,
        1,
        verdict.message,
        parts=parts if len(parts) > 1 else {},
        evidence=verdict.evidence,
    )


def _best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def _mass(values: Sequence[float], right: set[int]) -> float:
    """Probability of the right choices among all; shifted by the largest, so that far-fetched choices all count."""
    top = max(values)
    if math.isinf(top):
        return 0.0
    shares = [math.exp(value - top) for value in values]
    return min(1.0, math.fsum(shares[index] for index in sorted(right)) / math.fsum(shares))


def _expected(check: ChoiceCheck) -> str:
    return " or ".join(check.answer + check.also)
