"""Long prompts: they are as long as they say, the same every time, and ask for what stands in them."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest

from sandboxes.check import ContainsCheck
from sandboxes.verify import Verifiers
from suites import registry
from suites.catalogue import GROUPS, RULER_LENGTHS, RULER_TASKS
from suites.long_context.length import FULL, LENGTHS, TEMPLATE_ROOM, fitted
from suites.long_context.task import PROBLEMS, LongContext
from suites.problem import Problem

TASKS = tuple(f"ruler_{task}" for task in RULER_TASKS)


def task(name: str) -> LongContext:
    suite = registry.get(name)
    assert isinstance(suite, LongContext)
    return suite


def wanted(problem: Problem) -> list[str]:
    assert isinstance(problem.check, ContainsCheck)
    return problem.check.answers


async def words(text: str) -> int:
    """A tokenizer of a kind: a token a word."""
    return len(text.split())


PINNED = {
    "ruler_niah_single_1": "f7f6a71e9afd7073",
    "ruler_niah_single_2": "bb0734f9b25715f9",
    "ruler_niah_single_3": "e40eb8729d4c5335",
    "ruler_niah_multikey_1": "509da2809c67a352",
    "ruler_niah_multikey_2": "bf066ea891fd23f6",
    "ruler_niah_multikey_3": "cd3c0f983a16fa15",
    "ruler_niah_multivalue": "d9d24d074b6ee059",
    "ruler_niah_multiquery": "e2537911c994e085",
    "ruler_variable_tracking": "3ccbdfd9109b6235",
    "ruler_common_words": "2d61baa8df119b71",
    "ruler_frequent_words": "f7e38633e4a3a42a",
}
"""sha256 of the fixed 50 at 4K tokens, its first digits."""


def fingerprint(name: str) -> str:
    asked = "\0".join(f"{p.id}\0{p.ask}\0{p.gold}" for p in registry.get(name).problems())
    return hashlib.sha256(asked.encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", TASKS)
def test_the_fixed_problems_stay_what_they_are(name: str) -> None:
    assert fingerprint(name) == PINNED[name], "bump the suite's version with its problems"


def test_the_registry_s_lengths_are_the_suites() -> None:
    assert tuple(LENGTHS) == RULER_LENGTHS
    assert len(GROUPS["long_context"]) == len(TASKS) * len(LENGTHS)
    assert {registry.get(name).category for name in TASKS} == {"long_context"}


@pytest.mark.parametrize("name", TASKS)
async def test_prompts_are_as_long_as_the_model_counts(name: str) -> None:
    suite = task(f"{name}:8k")
    ids = [f"{name}/8k/{number}" for number in (3, 44)]
    found = await suite.sized(words, wanted=ids)
    room = suite.tokens() - suite.sampling.max_tokens - TEMPLATE_ROOM
    assert [problem.id for problem in found] == ids
    for problem in found:
        assert FULL * room <= await words(problem.ask) <= room


@pytest.mark.parametrize("name", TASKS)
async def test_length_and_tokenizer_change_neither_ids_nor_answers(name: str) -> None:
    short, long = task(name).problems(), task(f"{name}:16k").problems()
    counted = await task(name).sized(words)
    assert [wanted(p) for p in short] == [wanted(p) for p in long] == [wanted(p) for p in counted]
    assert [p.id for p in short] == [p.id for p in counted] != [p.id for p in long]
    assert len({p.id for p in [*short, *long]}) == 2 * PROBLEMS
    assert len(long[0].ask) > 3 * len(short[0].ask)


@pytest.mark.parametrize("name", TASKS)
def test_a_problem_is_known_by_its_trace_at_every_length(name: str) -> None:
    suite = task(name)
    traces = suite.traces()
    assert len(traces) == PROBLEMS * len(LENGTHS) and len(set(traces.values())) == PROBLEMS
    problems = [*suite.problems()[:20], *task(f"{name}:8k").problems()[:3]]
    for problem in problems:
        assert traces[problem.id] in problem.ask
        assert all(trace not in problem.ask for trace in set(traces.values()) - {traces[problem.id]})


@pytest.mark.parametrize("name", TASKS)
async def test_gold_passes_nothing_does_not_and_another_problem_s_gold_neither(name: str) -> None:
    suite, verifiers = task(name), Verifiers()
    problems = suite.problems()
    for problem, other in zip(problems, [*problems[1:], problems[0]], strict=True):
        assert (await verifiers.verify(problem.check, suite.answer(problem, problem.gold or ""))).passed
        assert (await verifiers.verify(problem.check, suite.answer(problem, ""))).score == 0.0
        others = await verifiers.verify(problem.check, suite.answer(problem, other.gold or ""))
        assert (others.score or 0.0) <= 0.1  # two lists of ten may have a word in common


@pytest.mark.parametrize("name", [name for name in TASKS if "niah" in name])
def test_each_needle_stands_in_the_text_once_and_needles_stand_anywhere(name: str) -> None:
    problems, depths = task(name).problems(), list[float]()
    for problem in problems:
        context, _, question = problem.ask.rpartition("\n")
        for answer in wanted(problem):
            (line,) = re.findall(rf"One of the special magic \w+ for ([\w-]+) is: {re.escape(answer)}\.", context)
            assert line in question and context.count(answer) == 1
            depths.append(context.index(answer) / len(context))
    assert min(depths) < 0.1 and max(depths) > 0.9
    assert Counter(int(4 * depth) for depth in depths).most_common()[-1][1] > len(depths) // 10


@pytest.mark.parametrize(("name", "keys"), [("multikey_1", 4), ("multiquery", 4), ("multivalue", 1), ("single_3", 1)])
def test_as_many_keys_as_the_task_says(name: str, keys: int) -> None:
    for problem in task(f"ruler_niah_{name}").problems():
        assert len(set(re.findall(r"special magic \w+ for ([\w-]+) is:", problem.ask))) == keys
        assert len(wanted(problem)) == (4 if name.startswith("multi") and name != "multikey_1" else 1)


def test_a_haystack_of_needles_has_no_key_twice() -> None:
    for name in ("ruler_niah_multikey_2", "ruler_niah_multikey_3"):
        keys = re.findall(r"One of the special magic \w+ for ([\w-]+) is:", task(name).problems()[0].ask)
        assert len(keys) == len(set(keys)) > 40


def test_variables_are_found_by_following_the_assignments() -> None:
    for problem in task("ruler_variable_tracking").problems():
        asked = problem.ask.rsplit("Memorize and track", 1)[1]
        (value,) = re.findall(r"assigned the value (\d+)", asked)
        values: dict[str, str] = {}
        for name, source in re.findall(r"VAR ([A-Z]{5}) = (?:VAR )?(\w+)", asked):
            values[name] = values.get(source, source)  # a name that is used before it is assigned would stay a name
        assert sorted(name for name, found in values.items() if found == value) == sorted(wanted(problem))
        assert len(wanted(problem)) == 5


def counted(text: str, number: int) -> Sequence[str]:
    return [word for word, _ in Counter(text.split()).most_common(number)]


def test_the_common_words_are_the_most_common_ones() -> None:
    for problem in task("ruler_common_words").problems():
        listed = problem.ask.rsplit("memorize", 1)[-1].rsplit("appear most often.\n", 1)[1].split("\nQuestion")[0]
        found = Counter(re.findall(r"\d+\. (\w+)", listed))
        top = found.most_common(11)
        assert {word for word, _ in top[:10]} == set(wanted(problem))
        assert [number for _, number in top] == [30] * 10 + [3]


def test_the_frequent_words_are_the_most_frequent_ones() -> None:
    for name in ("ruler_frequent_words", "ruler_frequent_words:8k"):
        for problem in task(name).problems()[:20]:
            text = problem.ask.split("coded words. ", 1)[1].split("\nQuestion")[0]
            assert counted(text, 4) == ["....", *wanted(problem)]
            numbers = [number for _, number in Counter(text.split()).most_common(5)]
            assert all(more > less for more, less in pairwise(numbers))


def test_base_models_continue_the_answer() -> None:
    problem = task("ruler_niah_multiquery").problems()[0]
    base, chat = (task("ruler_niah_multiquery").render(problem, chat=chat) for chat in (False, True))
    assert (base.text or "").startswith(chat.messages[0].content) and (base.text or "").endswith("provided text are")
    assert not chat.messages[0].content.endswith("are")


async def test_fitting_ends_and_says_where_nothing_fits() -> None:
    async def jumpy(text: str) -> int:
        return len(text) // 7 * 7

    for room in (8, 64, 1000):
        text, pieces = await fitted(lambda pieces: "x" * (5 + 30 * pieces), room, 1000, jumpy)
        assert len(text) == 5 + 30 * pieces and await jumpy(text) <= room
    with pytest.raises(ValueError, match="without filler has more than 3 tokens"):
        await fitted(lambda pieces: "x" * (50 + pieces), 3, 10, jumpy)
