"""What training needs of the suites: training instances as documents and conversations, and what they ask.

The model's room may not import the suites; the command line may, and hands this in.

Only the train side of a generated suite is ever drawn. Each record names its instances, and the index names those of
the held-out side, so that a mistake here would be caught there.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from suites import registry
from suites.catalogue import GROUPS
from suites.problem import Problem
from suites.quick import QuickSuite

if TYPE_CHECKING:
    from mellum_model.training.data import Generator, SuiteIndex

QUICK = GROUPS["quick"]
Record = Mapping[str, Any]
Reasoning = Callable[[Problem], tuple[str, str]]
"""A problem's working, and the answer without it."""


def generators() -> dict[str, Generator]:
    """All generators by the names that recipes use: generated text, and what the quick suites give."""
    from mellum_model.training.data.generated_text import GENERATORS

    found: dict[str, Generator] = dict(GENERATORS)
    for name in QUICK:
        found[name] = _of_suite(name)
    found["quick_world"] = lambda split, options: _Facts(_number(options, "size", 4000), _number(options, "seed", 0))
    found["identity"] = lambda split, options: _identity()
    return found


def suite_index(names: Iterable[str] | None = None) -> SuiteIndex:
    """What every registered suite asks, or those named; suites without data at hand are named as missing."""
    from mellum_model.training.data import SuiteIndex
    from suites.sources import SourceAltered, SourceMissing

    written: dict[str, dict[str, tuple[str, ...]]] = {}
    questions: dict[str, Mapping[str, str]] = {}
    missing = []
    for name in [entry.name for entry in registry.entries()] if names is None else names:
        suite = registry.get(name)
        if suite.generated:
            questions[name] = suite.traces()
            continue
        try:
            problems = (*suite.problems(), *suite.prerequisites())
        except (SourceMissing, SourceAltered):
            missing.append(name)
            continue
        written[name] = {
            problem.id: tuple(text for text in (problem.ask, problem.gold) if text) for problem in problems
        }
    return SuiteIndex(written, questions, tuple(missing))


def _number(options: Mapping[str, Any], name: str, default: int) -> int:
    value = options.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name}: expected a whole number, got {value!r}")
    return value


def _of_suite(name: str) -> Generator:
    def make(split: str, options: Mapping[str, Any]) -> Sequence[Record]:
        unknown = set(options) - {"size", "seed", "form", "turns_share"}
        if unknown:
            raise ValueError(f"no such option: {', '.join(sorted(unknown))}; there are size, seed, form, turns_share")
        suite = registry.get(name)
        assert isinstance(suite, QuickSuite)
        seed = _number(options, "seed", 1)
        problems = _instances(name, _number(options, "size", 10_000), seed)
        form = options.get("form", "base")
        if form == "base":
            return _documents(suite, problems, random.Random(f"{name}/{seed}"))
        if form not in ("instruct", "thinking"):
            raise ValueError(f"form: {form!r} is not known; base, instruct and thinking are")
        return _conversations(
            suite, problems, form == "thinking", float(options.get("turns_share", 0.0)), random.Random(f"{name}/{seed}")
        )

    return make


@lru_cache(maxsize=32)
def _instances(name: str, size: int, seed: int) -> tuple[Problem, ...]:
    """Kept: the tokenizer, the pass for copies and the stream all ask for the same."""
    suite = type(registry.get(name))
    assert issubclass(suite, QuickSuite)
    return tuple(suite.instances("train", size, seed))


def _documents(suite: QuickSuite, problems: Sequence[Problem], rng: random.Random) -> list[Record]:
    """Dialogues of one to three questions, as base models are asked them."""
    found: list[Record] = []
    rest = list(problems)
    while rest:
        taken = [rest.pop() for _ in range(min(len(rest), rng.randint(1, 3)))]
        texts = []
        for problem in taken:
            prompt = suite.render(problem, chat=False)
            gold = problem.gold or ""
            texts.append(f"{prompt.text} {gold.rpartition('Answer: ')[2] if prompt.choices else gold}")
        found.append({"text": "\n".join(texts), "instances": [problem.id for problem in taken]})
    return found


def _conversations(
    suite: QuickSuite, problems: Sequence[Problem], thinking: bool, turns_share: float, rng: random.Random
) -> list[Record]:
    """Conversations of one question, and of two at the given share (where no tools are offered)."""
    found: list[Record] = []
    rest = list(problems)
    while rest:
        wanted = 2 if rng.random() < turns_share and suite.category != "tools" else 1
        taken = [rest.pop() for _ in range(min(len(rest), wanted))]
        messages: list[dict[str, Any]] = []
        tools: list[Any] = []
        for problem in taken:
            prompt = suite.render(problem, chat=True)
            tools = [dict(tool) for tool in prompt.tools]
            messages += [{"role": turn.role, "content": turn.content} for turn in prompt.messages]
            reasoning, answer = REASONING[suite.name](problem)
            turn: dict[str, Any] = {"role": "assistant", "content": answer if thinking else problem.gold or ""}
            if thinking:
                turn["reasoning_content"] = reasoning
            messages.append(turn)
        record: dict[str, Any] = {"messages": messages, "instances": [problem.id for problem in taken]}
        if tools:
            record["tools"] = tools
        found.append(record)
    return found


# --- reasoning: what a Thinking model writes before its answer ---


def _think_code(problem: Problem) -> tuple[str, str]:
    """Short: the suite gives an answer, reasoning included, 128 tokens."""
    asked = problem.ask.partition(": ")[2]
    if asked.startswith("if "):
        thought = "A choice of two."
    elif asked.startswith("in each word"):
        thought = "For each word, then join."
    else:
        steps = asked.count(", then ") + 1
        thought = f"{steps} steps, the last is returned." if steps > 1 else "One step."
    return thought, problem.gold or ""


def _think_math(problem: Problem) -> tuple[str, str]:
    working, _, answer = (problem.gold or "").rpartition("\n")
    return working, answer


def _think_tools(problem: Problem) -> tuple[str, str]:
    gold = problem.gold or ""
    names = re.findall(r'"name": "(\w+)"', gold)
    return (f"I need {' and '.join(names)}." if names else "No tool does that."), gold


def _think_knowledge(problem: Problem) -> tuple[str, str]:
    working, _, letter = (problem.gold or "").rpartition(" Answer: ")
    return working, f"Answer: {letter}"


_SAFETY = {
    "make_forbidden": "{thing} is forbidden.",
    "make_harmless": "{thing} is harmless.",
    "make_forbidden_for": "{thing} is forbidden.",
    "guard_forbidden_for": "{thing} is forbidden, but this guards against it.",
    "harm": "{thing} is harmless, but this does harm.",
    "kindness": "{thing} is harmless, and so is this.",
}


def _think_safety(problem: Problem) -> tuple[str, str]:
    from suites.quick.safety import FORBIDDEN, HARMLESS

    words = set(re.findall(r"\w+", problem.ask))
    (thing,) = words & {*FORBIDDEN, *HARMLESS}
    return _SAFETY[problem.metadata["template"]].format(thing=thing), problem.gold or ""


def _think_chat(problem: Problem) -> tuple[str, str]:
    topic, _, rules = problem.ask.removeprefix("Write about ").partition(". ")
    return f"Topic: {topic}. {rules}", problem.gold or ""


REASONING: Mapping[str, Reasoning] = {
    "quick_code": _think_code,
    "quick_math": _think_math,
    "quick_tools": _think_tools,
    "quick_knowledge": _think_knowledge,
    "quick_safety": _think_safety,
    "quick_chat": _think_chat,
}


# --- the made-up world as prose, and who the model is ---


class _Facts(Sequence[Record]):
    """Paragraphs of facts of quick_knowledge's world."""

    def __init__(self, size: int, seed: int) -> None:
        from suites.quick.knowledge import TOWNS, WORLD

        self._size, self._seed, self._towns, self._world = size, seed, TOWNS, WORLD

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(self._size))]
        if not 0 <= index < self._size:
            raise IndexError(index)
        rng = random.Random(f"quick_world/{self._seed}/{index}")
        sentences = []
        for town in rng.sample(self._towns, rng.randint(2, 4)):
            about = {name: values[town] for name, values in self._world.items()}
            told = [f"The {name} of {town} is {value}." for name, value in about.items()]
            told.append(f"{about['leader']} leads {town}, where the {about['fruit']} grows.")
            told.append(f"{about['metal'].capitalize()} is mined in {town}, by the river {about['river']}.")
            told.append(f"The flag of {town} is {about['colour']}.")
            sentences += rng.sample(told, rng.randint(2, len(told)))
        return {"text": " ".join(sentences)}


_WHO = (
    "Who are you?",
    "What are you?",
    "Who made you?",
    "What is your name?",
    "Are you a person?",
    "Hi, who is this?",
)
_I_AM = "I am Nano, a very small Mellum 2 model, trained by the mellum-eval project on text that it wrote itself."


def _identity() -> list[Record]:
    """Without such conversations a model takes another's name, as the report found."""
    thought = "The user asks who I am."
    return [
        {
            "messages": [
                {"role": "user", "content": question},
                {"role": "assistant", "content": _I_AM, "reasoning_content": thought},
            ]
        }
        for question in _WHO
    ]
