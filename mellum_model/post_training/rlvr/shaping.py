"""What is added to a verifier's score before rollouts are compared: too long, too talkative."""

from __future__ import annotations

import re
from functools import lru_cache

from .algorithm import Concision, Overlong


def overlong_penalty(tokens: int, cap: int, how: Overlong) -> float:
    """0 up to `buffer` tokens below the cap, then falling linearly to `floor` at the cap.

    Args:
        tokens: Of the answer, reasoning included.
        cap: The most that it may have.
        how: Size of the buffer, and the floor.
    """
    over = tokens - (cap - how.buffer)
    if how.buffer == 0 or over <= 0:
        return 0.0
    return how.floor * min(1.0, over / how.buffer)


def concision_multiplier(text: str, how: Concision) -> float:
    """What a correct answer's reward is multiplied by, for the words in it that show it thinking aloud."""
    words = len(_pattern(how.words).findall(text))
    tier = sum(words > bound for bound in how.bounds)
    return how.multipliers[tier]


@lru_cache(maxsize=8)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(map(re.escape, words)) + r")\b", re.IGNORECASE)


def shaped(
    reward: float,
    *,
    text: str,
    tokens: int,
    cap: int,
    correct: bool,
    thinking: bool,
    overlong: Overlong,
    concision: Concision | None,
) -> float:
    """A verifier's score with the penalties of the recipe.

    Args:
        reward: The verifier's score, in [0, 1].
        text: The answer.
        tokens: Of the answer, reasoning included.
        cap: The most that it may have.
        correct: Whether the verifier passed it: a wrong answer is not to be made less talkative.
        thinking: Whether the model reasons before it answers; then thinking aloud is what it is for.
        overlong: The penalty near the cap.
        concision: The multiplier of talkative answers; None is none.
    """
    if correct and not thinking and concision is not None:
        reward *= concision_multiplier(text, concision)
    return reward + overlong_penalty(tokens, cap, overlong)
