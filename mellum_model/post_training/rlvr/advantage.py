"""How much better a rollout did than its group: the advantage, and which groups have none."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

from .algorithm import Algorithm

EPSILON = 1e-6
"""Beside a standard deviation, and what rewards may differ by and count as equal."""


def advantages(rewards: Sequence[float], how: Algorithm) -> list[float]:
    """Advantages within one group.

    Args:
        rewards: Of the group's rollouts that could be judged.
        how: Baseline and scale.

    Returns:
        One a rollout. A group of one has nothing to be measured against: 0.
    """
    count = len(rewards)
    if count < 2:
        return [0.0] * count
    total, mean = sum(rewards), fmean(rewards)
    if how.baseline == "leave_one_out":
        found = [reward - (total - reward) / (count - 1) for reward in rewards]
    else:
        found = [reward - mean for reward in rewards]
    if not how.scale_by_std:
        return found
    scale = stdev(rewards) + EPSILON
    return [value / scale for value in found]


def is_even(rewards: Sequence[float]) -> bool:
    """Whether all rewards are equal, so that no rollout is better than another."""
    return len(rewards) < 2 or max(rewards) - min(rewards) < EPSILON
