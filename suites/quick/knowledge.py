"""quick_knowledge: facts of a made-up world, asked as multiple choice with exactly balanced letters.

The world is fixed: what a model can learn from train problems is what held-out problems ask, in combinations of
choices it has not seen. Gold states the fact before the letter, so that there is more to learn from than one token.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from sandboxes.check import ChoiceCheck
from suites.problem import Message, Problem, Prompt
from suites.quick.generator import TINY, Instance, QuickSuite, words

LETTERS = "ABCD"

TOWNS = words(
    "Arlo Bemis Corda Dunmar Elvet Fenno Garda Hollin Ista Jorvel Kelm Lorna Mirto Nessa Orvan Pella Quorn "
    "Rusk Solva Tarn Ulmo Velda Wick Yarrow"
)
_VALUES = {
    "river": ["Ash", "Brook", "Cedar", "Drift", "Elder", "Frost", "Glade", "Heron"],
    "fruit": ["apple", "cherry", "fig", "grape", "lemon", "melon", "pear", "plum"],
    "metal": ["copper", "gold", "iron", "lead", "nickel", "silver", "tin", "zinc"],
    "colour": ["amber", "black", "blue", "brown", "green", "red", "white", "yellow"],
}
_SAYINGS = {
    "river": ("Which river runs through {}?", "The river of {} is {}."),
    "fruit": ("Which fruit grows in {}?", "The fruit of {} is {}."),
    "metal": ("Which metal is mined in {}?", "The metal of {} is {}."),
    "colour": ("Which colour is the flag of {}?", "The colour of {} is {}."),
}
_LEADERS = words(
    "Abel Bruna Cato Dora Edda Falk Greta Hugo Ilse Jonas Karla Lars Mona Nils Olga Paul Rita Sven Tilda Ugo "
    "Vera Wim Xenia Yves"
)


def _world() -> dict[str, dict[str, str]]:
    """Relation → town → value. Every value of a relation belongs to three towns, every leader to one."""
    rng = random.Random("the world of quick_knowledge")
    world = {}
    for relation, values in _VALUES.items():
        spread = values * (len(TOWNS) // len(values))
        rng.shuffle(spread)
        world[relation] = dict(zip(TOWNS, spread, strict=True))
    leaders = list(_LEADERS)
    rng.shuffle(leaders)
    world["leader"] = dict(zip(TOWNS, leaders, strict=True))
    return world


WORLD: Mapping[str, Mapping[str, str]] = _world()


def _instance(
    template: str, level: int, number: int, question: str, right: str, wrong: Sequence[str], working: str
) -> Instance:
    letter = (number + number // len(LETTERS)) % len(LETTERS)  # each template meets each letter equally often
    choices = [*wrong[:letter], right, *wrong[letter:]]
    lines = [f"{mark}. {choice}" for mark, choice in zip(LETTERS, choices, strict=True)]
    return Instance(
        template=template,
        level=level,
        key=f"{template}:{question}:{sorted(wrong)}",
        ask="\n".join([question, *lines]),
        check=ChoiceCheck(kind="choice", answer=LETTERS[letter], choices=len(LETTERS), limits=TINY),
        gold=f"{working} Answer: {LETTERS[letter]}",
    )


def _others(rng: random.Random, values: Sequence[str], *right: str) -> list[str]:
    return rng.sample([value for value in values if value not in right], len(LETTERS) - 1)


def _value_of_town(rng: random.Random, number: int) -> Instance:
    relation, town = rng.choice(list(_VALUES)), rng.choice(TOWNS)
    question, fact = _SAYINGS[relation]
    value = WORLD[relation][town]
    wrong = _others(rng, _VALUES[relation], value)
    return _instance("value", 1, number, question.format(town), value, wrong, fact.format(town, value))


def _leader_of_town(rng: random.Random, number: int) -> Instance:
    town = rng.choice(TOWNS)
    leader = WORLD["leader"][town]
    wrong = _others(rng, _LEADERS, leader)
    fact = f"The leader of {town} is {leader}."
    return _instance("leader", 1, number, f"Who leads {town}?", leader, wrong, fact)


def _town_of_leader(rng: random.Random, number: int) -> Instance:
    town = rng.choice(TOWNS)
    leader = WORLD["leader"][town]
    wrong = _others(rng, TOWNS, town)
    fact = f"The leader of {town} is {leader}."
    return _instance("town", 2, number, f"Which town does {leader} lead?", town, wrong, fact)


def _value_by_leader(rng: random.Random, number: int) -> Instance:
    """Two facts: who leads where, and what that town has."""
    relation, town = rng.choice(list(_VALUES)), rng.choice(TOWNS)
    question, fact = _SAYINGS[relation]
    leader, value = WORLD["leader"][town], WORLD[relation][town]
    wrong = _others(rng, _VALUES[relation], value)
    working = f"The leader of {town} is {leader}. {fact.format(town, value)}"
    asked = question.format(f"the town that {leader} leads")
    return _instance("value_by_leader", 3, number, asked, value, wrong, working)


class QuickKnowledge(QuickSuite):
    """Four templates over 24 towns."""

    name = "quick_knowledge"
    category = "knowledge"
    summary = "facts of a made-up world"
    templates = (
        _value_of_town,
        _leader_of_town,
        _town_of_leader,
        _value_by_leader,
    )

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """Chat models answer in text; base models rank the letters."""
        if chat:
            return Prompt(messages=(Message("user", f'{problem.ask}\nEnd with "Answer: " and the letter.'),))
        return Prompt(text=f"{problem.ask}\nAnswer:", choices=tuple(f" {letter}" for letter in LETTERS))
