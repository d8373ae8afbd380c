"""How generated problems are drawn, split into train and held-out, and made into suites."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

from sandboxes.check import Check, Limits
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.suite import Suite

Split: TypeAlias = Literal["train", "held_out"]

HELD_OUT_SHARE = 10
"""One in so many keys is held out."""
DEFAULT = 40
FULL = 500
"""Problems of the default suite and of its variant `full`; the 40 are the first of the 500."""
TINY = Limits(cpu_s=2.0, memory_mb=256)
"""Enough for any answer that is meant, and an endless loop of a model in training costs little."""
_PATIENCE = 300
"""Draws of one template without a new instance after which it counts as used up."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One generated problem.

    Attributes:
        template: Name of the template: problems of one template share a cluster.
        level: 1 (one step) to 3.
        key: What identifies the problem apart from wording and order: no key is drawn twice.
        ask: The question.
        check: What its answer must satisfy.
        gold: A right completion, with a few words of working where working helps.
        family: What decides the side, where problems of several keys are too alike to be on both; else the key.
        extra: Further metadata for the suite's `render`.
    """

    template: str
    level: int
    key: str
    ask: str
    check: Check
    gold: str
    family: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


Template: TypeAlias = Callable[[random.Random, int], Instance]
"""Draws an instance; the number is that of the problem to be, for what must be balanced exactly (letters)."""


def side_of(suite: str, key: str) -> Split:
    """The side a key is on, for ever: it depends on nothing but the suite's name and the key."""
    digest = hashlib.sha256(f"{suite}\0{key}".encode()).digest()
    return "held_out" if int.from_bytes(digest[:8], "big") % HELD_OUT_SHARE == 0 else "train"


def words(text: str) -> tuple[str, ...]:
    """A vocabulary written as one string."""
    return tuple(text.split())


class QuickSuite(Suite):
    """A suite of generated problems: a fixed 40 held-out ones, or 500 as variant `full`."""

    version = "1"
    variants = ("full",)
    generated = True
    sampling = Sampling(max_tokens=128)
    templates: ClassVar[tuple[Template, ...]]

    def problems(self) -> Sequence[Problem]:
        """The fixed held-out problems: seed 0, always the same."""
        return self.instances("held_out", FULL if self.variant == "full" else DEFAULT, seed=0)

    def traces(self) -> Mapping[str, str]:
        """The questions of all 500, whichever variant this is."""
        return {problem.id: problem.ask for problem in self.instances("held_out", FULL, seed=0)}

    @classmethod
    def instances(cls, split: Split, n: int, seed: int) -> list[Problem]:
        """Draw n different problems of one side, the templates taking turns.

        The same arguments give the same problems, and the first m of n are those that m gives.

        Raises:
            ValueError: The templates have fewer than n instances on this side.
        """
        rng = random.Random(f"{cls.name}/{split}/{seed}")
        live, seen, problems = list(cls.templates), set[str](), list[Problem]()
        while len(problems) < n:
            if not live:
                raise ValueError(f"{cls.name} has only {len(problems)} different {split} problems, not {n}")
            template = live[len(problems) % len(live)]
            instance = cls._new(template, rng, len(problems), split, seen)
            if instance is None:
                live.remove(template)
                continue
            seen.add(instance.key)
            problems.append(cls._problem(instance, split))
        return problems

    @classmethod
    def _new(cls, template: Template, rng: random.Random, number: int, split: Split, seen: set[str]) -> Instance | None:
        for _ in range(_PATIENCE):
            instance = template(rng, number)
            if instance.key not in seen and side_of(cls.name, instance.family or instance.key) == split:
                return instance
        return None

    @classmethod
    def _problem(cls, instance: Instance, split: Split) -> Problem:
        short = hashlib.sha256(instance.key.encode()).hexdigest()[:12]
        return Problem(
            id=f"{cls.name}/{split}/{instance.template}-{short}",
            ask=instance.ask,
            check=instance.check,
            gold=instance.gold,
            cluster=instance.template,
            metadata={"template": instance.template, "level": instance.level, "split": split, **instance.extra},
        )

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """The question alone; base models see it as a turn of a dialogue."""
        if chat:
            return Prompt(messages=(Message("user", problem.ask),))
        return Prompt(text=f"User: {problem.ask}\nAssistant:", stop=("\nUser:",))
