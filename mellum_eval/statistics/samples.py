"""What k samples of one problem say: pass@k, avg@k, maj@k. Each gives one number a problem; means come after."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence


def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that at least one of k samples, drawn from n of which c are right, is right.

    Source: M. Chen et al., arXiv 2107.03374 (2021), equation 1: 1 - C(n-c, k)/C(n, k), unbiased for k ≤ n. Integers
    are exact here, so the product form that the paper uses against overflow is not needed.

    Raises:
        ValueError: Not 0 ≤ c ≤ n, or not 1 ≤ k ≤ n.
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"pass@{k} of {n} samples with {c} right: need 0 ≤ c ≤ n and 1 ≤ k ≤ n")
    total = math.comb(n, k)
    return (total - math.comb(n - c, k)) / total


def avg_at_k(scores: Sequence[float]) -> float:
    """Mean score of one problem's k samples: the unbiased estimate of the score of one sample.

    Raises:
        ValueError: There are no scores.
    """
    if not scores:
        raise ValueError("avg@k of no samples")
    return math.fsum(scores) / len(scores)


def maj_at_k(answers: Sequence[Hashable | None], correct: Sequence[bool], k: int | None = None) -> float:
    """Expected score of the majority answer among k of the samples, ties averaged.

    Self-consistency (X. Wang et al., arXiv 2203.11171): the most frequent answer counts. Answers that tie share the
    vote, so the score is the fraction of the tied answers that are right, which does not depend on the order of the
    samples. For k below the number of samples it is the exact mean over all subsets of k, by counting, not by drawing.

    Args:
        answers: One a sample, normalised so that equal answers are equal; None is no answer and does not vote.
        correct: Whether each sample is right. An answer is right if any sample that gave it was judged so.
        k: Size of the vote; all samples if None.

    Raises:
        ValueError: Lengths differ, there are no samples, or not 1 ≤ k ≤ the number of samples.
    """
    n = len(answers)
    k = n if k is None else k
    if len(correct) != n or not 1 <= k <= n:
        raise ValueError(f"maj@{k} of {n} answers and {len(correct)} verdicts: need equal numbers and 1 ≤ k ≤ n")
    votes = Counter(answer for answer in answers if answer is not None)
    right = {answer for answer, good in zip(answers, correct, strict=True) if good and answer is not None}
    counts = [(count, answer in right) for answer, count in votes.items()]
    silent = n - sum(votes.values())
    if not right:
        return 0.0
    won = 0.0
    total = math.comb(n, k)
    for top in range(1, min(k, max(votes.values())) + 1):
        # Ways to pick samples so that no answer has more than `top`: (picked, tied at top, of them right) → ways.
        ways: dict[tuple[int, int, int], int] = {(0, 0, 0): 1}
        for count, good in counts:
            after: dict[tuple[int, int, int], int] = {}
            for (picked, tied, tied_right), number in ways.items():
                for take in range(min(top, count, k - picked) + 1):
                    at_top = int(take == top)
                    key = (picked + take, tied + at_top, tied_right + (at_top and int(good)))
                    after[key] = after.get(key, 0) + number * math.comb(count, take)
            ways = after
        for (picked, tied, tied_right), number in ways.items():
            if tied and k - picked <= silent:
                won += number * math.comb(silent, k - picked) / total * (tied_right / tied)
    return min(1.0, won)
