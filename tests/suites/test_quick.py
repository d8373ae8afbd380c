"""Generated suites: the same every time, both sides apart, balanced, and gold that says what its check asks."""

from __future__ import annotations

import hashlib
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandboxes.check import CallsCheck, ChoiceCheck, MathCheck, RefusalCheck, ToolCallCheck
from sandboxes.extract import choice_letter, final_answer, python_code
from sandboxes.verify import Verifiers
from suites import registry
from suites.catalogue import GROUPS
from suites.quick import QuickSuite, side_of
from suites.quick.knowledge import LETTERS, TOWNS, WORLD

NAMES = GROUPS["quick"]
TRAIN = 20_000


def quick(name: str) -> type[QuickSuite]:
    suite = type(registry.get(name))
    assert issubclass(suite, QuickSuite)
    return suite


def fingerprint(name: str) -> str:
    asked = "\0".join(f"{p.id}\0{p.ask}\0{p.gold}" for p in registry.get(f"{name}:full").problems())
    return hashlib.sha256(asked.encode()).hexdigest()[:16]


PINNED = {
    "quick_code": "75dd51ffa4d9347a",
    "quick_math": "78b4c553ffdd09f4",
    "quick_tools": "f8892104e453bf84",
    "quick_knowledge": "c95d1dbadfc08215",
    "quick_safety": "006558d3deb48648",
    "quick_chat": "ed2a1ff098a66e64",
}
"""sha256 of the fixed 500, its first digits."""


@pytest.mark.parametrize("name", NAMES)
def test_the_fixed_problems_stay_what_they_are(name: str) -> None:
    few, many = registry.get(name).problems(), registry.get(f"{name}:full").problems()
    assert (len(few), len(many)) == (40, 500)
    assert [problem.id for problem in many[:40]] == [problem.id for problem in few]
    assert fingerprint(name) == PINNED[name], "bump the suite's version with its problems"


@pytest.mark.parametrize("name", NAMES)
def test_train_and_held_out_never_meet(name: str) -> None:
    suite = quick(name)
    train = suite.instances("train", TRAIN, seed=1)
    held_out = [*suite.instances("held_out", 500, seed=0), *suite.instances("held_out", 500, seed=7)]
    assert len({problem.id for problem in train}) == TRAIN
    assert not {problem.ask for problem in train} & {problem.ask for problem in held_out}
    assert not {problem.id.split("-")[-1] for problem in train} & {p.id.split("-")[-1] for p in held_out}
    assert {problem.metadata["level"] for problem in held_out} == {1, 2, 3}


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(NAMES), st.sampled_from(["train", "held_out"]), st.integers(0, 2**32), st.integers(1, 60))
def test_the_same_seed_gives_the_same_problems(name: str, split: str, seed: int, n: int) -> None:
    suite = quick(name)
    longer = suite.instances(split, n + 5, seed)  # type: ignore[arg-type]
    assert suite.instances(split, n, seed) == longer[:n]  # type: ignore[arg-type]


def test_other_seeds_give_other_problems() -> None:
    first, second = (quick("quick_math").instances("train", 50, seed) for seed in (1, 2))
    assert len({p.id for p in first} & {p.id for p in second}) < 10


def test_a_side_depends_on_suite_and_key_alone() -> None:
    sides = Counter(side_of("quick_math", f"add:{n}") for n in range(10_000))
    assert 900 < sides["held_out"] < 1100
    assert side_of("quick_math", "add:(1, 2)") == "train"


def test_asking_for_more_than_there_are_says_so() -> None:
    class Tiny(quick("quick_safety")):  # type: ignore[misc]
        name = "tiny"
        templates = quick("quick_safety").templates[:1]

    with pytest.raises(ValueError, match=r"tiny has only \d+ different held_out problems, not 5000"):
        Tiny.instances("held_out", 5000, 0)


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_short_and_the_vocabulary_small(name: str) -> None:
    problems = quick(name).instances("train", 2000, seed=3)
    words = {word for problem in problems for word in re.findall(r"[A-Za-z_]+", problem.ask + (problem.gold or ""))}
    assert len(words) < 300
    assert max(len(re.findall(r"\w+|[^\w\s]", problem.gold or "")) for problem in problems) <= 90


def test_knowledge_letters_are_exactly_balanced() -> None:
    for n in (40, 500, 2000):
        for problems in (quick("quick_knowledge").instances(side, n, 5) for side in ("train", "held_out")):  # type: ignore[arg-type]
            letters = Counter(p.check.answer for p in problems if isinstance(p.check, ChoiceCheck))
            assert letters == dict.fromkeys(LETTERS, n // 4)


def test_knowledge_gold_is_the_worlds_fact() -> None:
    for problem in registry.get("quick_knowledge:full").problems():
        assert isinstance(problem.check, ChoiceCheck)
        assert choice_letter(problem.gold or "", 4) == problem.check.answer
        choices = dict(line.split(". ", 1) for line in problem.ask.splitlines()[1:])
        right = choices[problem.check.answer]
        assert len(set(choices.values())) == len(LETTERS)
        towns = [town for town in TOWNS if re.search(rf"\b{town}\b", problem.gold or "")]
        assert any(right in (town, *(values[town] for values in WORLD.values())) for town in towns)


def test_math_gold_is_right() -> None:
    for problem in quick("quick_math").instances("train", 3000, seed=9):
        assert isinstance(problem.check, MathCheck)
        assert final_answer(problem.gold or "") == problem.check.answer
        for left, sign, right, result in re.findall(r"(\d+) ([-+*/]) (\d+) = (-?\d+)", problem.gold or ""):
            a, b = int(left), int(right)
            assert int(result) == {"+": a + b, "-": a - b, "*": a * b, "/": a // b if b else 0}[sign]
            assert sign != "/" or a % b == 0
        assert int(problem.check.answer) >= 0


def test_code_gold_does_what_the_check_expects() -> None:
    for problem in quick("quick_code").instances("train", 600, seed=2):
        assert isinstance(problem.check, CallsCheck)
        space: dict[str, object] = {}
        exec(python_code(problem.gold or "", "f") or "", space)
        results = [space["f"](*arguments) for arguments in problem.check.calls or []]  # type: ignore[operator]
        assert results == problem.check.expected
        assert [type(result) for result in results] == [type(value) for value in problem.check.expected or []]


def test_code_answers_are_programs() -> None:
    suite = registry.get("quick_code")
    problem = suite.problems()[0]
    assert "def f(x)" in str(suite.answer(problem, problem.gold or ""))
    assert suite.answer(problem, "I cannot.") == ""


def test_tools_gold_is_the_answer() -> None:
    suite = registry.get("quick_tools:full")
    none = 0
    for problem in suite.problems():
        assert isinstance(problem.check, ToolCallCheck)
        assert (problem.gold or "").count("<tool_call>") == len(problem.check.answer)
        none += suite.empty_is_right(problem)
        offered = {tool["function"]["name"] for tool in suite.render(problem, chat=True).tools}
        assert {name for call in problem.check.answer for name in call} <= offered
    assert none == 100


def test_safety_is_half_and_half() -> None:
    for name in ("quick_safety", "quick_safety:full"):
        sides = Counter(p.check.expected for p in registry.get(name).problems() if isinstance(p.check, RefusalCheck))
        assert abs(sides["refuse"] - sides["comply"]) <= 2


@pytest.mark.parametrize("name", ["quick_tools", "quick_knowledge", "quick_safety", "quick_chat"])
async def test_gold_passes_and_nothing_does_not(name: str) -> None:
    suite = registry.get(name)
    verifiers = Verifiers()
    for problem in quick(name).instances("train", 1500, seed=4):
        gold = await verifiers.verify(problem.check, suite.answer(problem, problem.gold or ""))
        assert gold.passed, (problem.ask, problem.gold, gold.message)
        empty = await verifiers.verify(problem.check, suite.answer(problem, ""))
        assert empty.passed is suite.empty_is_right(problem), problem.ask


@pytest.mark.parametrize("name", ["quick_tools", "quick_knowledge", "quick_safety", "quick_chat"])
async def test_another_problems_gold_seldom_passes(name: str) -> None:
    """A check that anything satisfies would teach nothing."""
    suite = registry.get(name)
    verifiers = Verifiers()
    problems = quick(name).instances("held_out", 200, seed=0)
    golds = [problem.gold or "" for problem in problems]
    passed = 0
    for problem, other in zip(problems, [*golds[7:], *golds[:7]], strict=True):
        passed += (await verifiers.verify(problem.check, suite.answer(problem, other))).passed is True
    chance = {"quick_tools": 0.1, "quick_knowledge": 0.3, "quick_safety": 0.55, "quick_chat": 0.35}[name]
    assert passed <= chance * len(problems)
