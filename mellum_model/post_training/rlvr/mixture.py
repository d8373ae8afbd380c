"""Which task is asked when: a pure function of the recipe, so that a resumed run asks what the stopped one would have.

Domains take turns so that each is as near its share as whole prompts allow, over any stretch of the run. Within a
domain all tasks are asked once, in an order drawn anew for each pass, before any is asked again.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass

from ...training.errors import DataError
from .environment import Environment, Task
from .recipe import RlvrRecipe


@dataclass(frozen=True, slots=True)
class Ask:
    """A task to be asked, of a domain."""

    domain: str
    task: Task


class Mixture:
    """The endless row of a run's prompts, cut into batches."""

    def __init__(self, recipe: RlvrRecipe, environments: Mapping[str, Environment]) -> None:
        """Prepare.

        Raises:
            DataError: A domain that is to be trained on has no tasks.
        """
        shares = {name: recipe.environments[name].share for name in environments if recipe.environments[name].share}
        total = sum(shares.values())
        self._shares = {name: share / total for name, share in shares.items()}
        self._tasks = {name: environments[name].tasks("train") for name in shares}
        if empty := [name for name, tasks in self._tasks.items() if not tasks]:
            raise DataError(f"environments.{empty[0]}: has no tasks to train on")
        self._seed, self._size = recipe.seed, recipe.drawn_prompts
        self._asked = dict.fromkeys(shares, 0)
        self._orders: dict[str, tuple[int, list[int]]] = {}
        self._number = 0

    def batch(self, number: int) -> list[Ask]:
        """The prompts of step `number`, from 1; steps are asked for in rising order."""
        while self._number < number:
            self._number += 1
            chosen = [self._next_domain() for _ in range(self._size)]
            if self._number == number:
                return [Ask(name, self._task(name, place)) for name, place in chosen]
        raise ValueError(f"step {number} was passed already")

    def _next_domain(self) -> tuple[str, int]:
        asked = sum(self._asked.values()) + 1
        name = max(self._shares, key=lambda one: self._shares[one] * asked - self._asked[one])
        place = self._asked[name]
        self._asked[name] += 1
        return name, place

    def _task(self, name: str, place: int) -> Task:
        tasks = self._tasks[name]
        turn, within = divmod(place, len(tasks))
        held = self._orders.get(name)
        if held is None or held[0] != turn:
            order = list(range(len(tasks)))
            random.Random(f"{self._seed}/{name}/{turn}").shuffle(order)
            self._orders[name] = held = (turn, order)
        return tasks[held[1][within]]


def validation_asks(recipe: RlvrRecipe, environments: Mapping[str, Environment]) -> list[Ask]:
    """The held-out tasks of all domains, equally many of each as far as there are."""
    each = -(-recipe.validation.tasks // len(environments))
    return [
        Ask(name, task) for name, environment in environments.items() for task in environment.tasks("validation")[:each]
    ]


def seed_of(*parts: object) -> int:
    """A seed that depends on nothing but what is named."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:6], "big")
