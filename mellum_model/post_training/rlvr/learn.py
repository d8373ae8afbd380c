"""From judged rollouts to what is learnt: shaped rewards, groups that teach nothing dropped, advantages, sequences."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .advantage import advantages, is_even
from .gather import Rollout
from .recipe import RlvrRecipe
from .shaping import shaped


@dataclass(frozen=True, slots=True)
class Example:
    """One answer with its context: a sequence of the loss."""

    prompt: Sequence[int]
    tokens: Sequence[int]
    drawn: Sequence[float]
    """The sampler's log-probabilities."""
    advantage: float
    group: int


@dataclass(slots=True)
class Lesson:
    """What of a batch is learnt, and why the rest is not."""

    examples: list[Example] = field(default_factory=list)
    groups: int = 0
    """That are learnt from."""
    even: int = 0
    """Groups dropped because all of their rewards are equal."""
    surplus: int = 0
    """Groups that would have had something to teach, beyond those that a step trains on."""
    unjudged: int = 0
    """Rollouts dropped because they could not be judged."""
    cut: int = 0
    """Rollouts left out of the loss because they were cut off at the cap."""


def lesson(rollouts: Sequence[Rollout], recipe: RlvrRecipe, prompts: int) -> Lesson:
    """Choose what is learnt.

    Args:
        rollouts: Judged, as far as they could be; their shaped reward is filled in.
        recipe: The switches.
        prompts: Groups to learn from at most.
    """
    how, found = recipe.algorithm, Lesson()
    groups: dict[int, list[Rollout]] = defaultdict(list)
    for one in rollouts:
        if one.judged is None or one.judged.reward is None:
            found.unjudged += 1
            continue
        one.reward = shaped(
            one.judged.reward,
            text=one.text,
            tokens=len(one.turns[-1].tokens) if one.turns else 0,
            cap=recipe.rollouts.max_tokens,
            correct=bool(one.judged.passed),
            thinking=recipe.form == "thinking",
            overlong=how.overlong,
            concision=how.concision,
        )
        groups[one.group].append(one)
    for number, members in sorted(groups.items()):
        rewards = [one.reward for one in members]
        if how.drop_even_groups and is_even(rewards):
            found.even += 1
            continue
        if found.groups == prompts:
            found.surplus += 1
            continue
        found.groups += 1
        for one, advantage in zip(members, advantages(rewards, how), strict=True):
            if one.cut and how.over_cap == "drop":
                found.cut += 1
                continue
            found.examples += [
                Example(turn.prompt, turn.tokens, turn.logprobs, advantage, number) for turn in one.turns if turn.tokens
            ]
    return found


def described(rollouts: Sequence[Rollout]) -> dict[str, Any]:
    """Sums over rollouts that means are made of; sums of several ranks can be added."""
    domains: dict[str, Counter[str]] = defaultdict(Counter)
    outcomes: Counter[str] = Counter()
    for one in rollouts:
        count = domains[one.domain]
        count["rollouts"] += 1
        count["tokens"] += one.tokens
        count["turns"] += len(one.turns)
        count["cut"] += one.cut
        if one.judged is None:
            continue
        outcomes[one.judged.outcome] += 1
        if one.judged.reward is not None:
            count["judged"] += 1
            count["passed"] += bool(one.judged.passed)
            count["reward"] += one.judged.reward  # type: ignore[assignment]
            count["shaped"] += one.reward  # type: ignore[assignment]
    return {"domains": {name: dict(count) for name, count in domains.items()}, "outcomes": dict(outcomes)}


def means(sums: dict[str, Any]) -> dict[str, Any]:
    """The log's figures from what `described` counted."""
    total: Counter[str] = Counter()
    for count in sums["domains"].values():
        total.update(count)

    def ratio(count: Any, part: str, of: str = "judged") -> float | None:
        return count.get(part, 0) / count[of] if count.get(of) else None

    return {
        "reward": ratio(total, "reward"),
        "pass@1": ratio(total, "passed"),
        "length": ratio(total, "tokens", "rollouts"),
        "turns": ratio(total, "turns", "rollouts"),
        "cut_share": ratio(total, "cut", "rollouts"),
        "rollouts": total["rollouts"],
        "outcomes": dict(sorted(sums["outcomes"].items())),
        "tampered": sums["outcomes"].get("tampered", 0),
        "domains": {
            name: {
                "n": count["rollouts"],
                "reward": ratio(count, "reward"),
                "pass@1": ratio(count, "passed"),
                "length": ratio(count, "tokens", "rollouts"),
            }
            for name, count in sorted(sums["domains"].items())
        },
    }
