"""The suites on real data: how many problems, how they are asked, and that gold says what the data says."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from sandboxes.check import CallsCheck, ChoiceCheck, MathCheck, ToolCallCheck
from sandboxes.extract import choice_letter, final_answer, split
from suites import registry
from suites.code.mbpp_plus import AS_SETS, SECOND_READINGS, SHAPES
from suites.problem import Problem
from suites.suite import Suite

pytestmark = pytest.mark.usefixtures("data_dir")


@cache
def problems(name: str) -> tuple[Suite, tuple[Problem, ...]]:
    suite = registry.get(name)
    return suite, tuple(suite.problems())


COUNTS = {
    "humaneval_plus": 164,
    "humaneval_plus:base": 164,
    "humaneval_plus:mini": 164,
    "humaneval_plus:noextreme": 164,
    "mbpp_plus": 378,
    "mbpp_plus:noextreme": 378,
    "humaneval": 164,
    "mbpp": 500,
    "cruxeval": 800,
    "cruxeval:input": 800,
    "canitedit": 105,
    "canitedit:lazy_stdlib": 83,
    "quixbugs": 40,
    "agentic_coding": 13,
    "self_repair": 164,
    "self_repair:mbpp_plus": 378,
    "humanevalpack": 984,
    "humanevalpack:cpp": 164,
    "humanevalpack:rust-fix": 164,
    "multipl_e": 1116,
    "multipl_e:go": 154,
    "gsm8k": 1319,
    "math500": 500,
    "bfcl": 3641,
    "aime": 60,
    "aime:2024": 30,
    "aime:2025": 30,
    "bfcl:simple_python": 400,
    "bfcl:simple_java": 100,
    "bfcl:simple_javascript": 50,
    "bfcl:multiple": 200,
    "bfcl:parallel": 200,
    "bfcl:parallel_multiple": 200,
    "bfcl:irrelevance": 240,
    "bfcl:live_simple": 258,
    "bfcl:live_multiple": 1053,
    "bfcl:live_parallel": 16,
    "bfcl:live_parallel_multiple": 24,
    "bfcl:live_irrelevance": 884,
    "bfcl:live_relevance": 16,
    "mmlu_redux": 5330,
    "mmlu": 14042,
    "mmlu_pro": 12032,
    "mmlu_pro:cot": 12032,
    "arc": 3548,
    "arc:challenge": 1172,
    "arc:easy": 2376,
    "truthfulqa": 817,
    "truthfulqa:mc2": 817,
    "bbh": 6511,
    "bbh:word_sorting": 250,
    "xstest": 450,
    "xstest:safe": 250,
    "xstest:unsafe": 200,
    "harmbench": 320,
    "harmbench:val": 80,
    "harmbench:all": 400,
    "ifeval": 541,
    "ifbench": 300,
}


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_there_are_as_many_problems_as_published(name: str, count: int) -> None:
    suite, found = problems(name)
    assert len(found) == count
    assert len({problem.id for problem in found}) == count
    for problem in found:
        json.dumps(dict(problem.metadata))
        assert (problem.gold is not None) == suite.has_gold


@pytest.mark.parametrize("name", [name for name in COUNTS if ":" not in name])
def test_nothing_of_the_check_is_asked(name: str) -> None:
    """Every prompt is one of the two forms; gold (where it is long enough to be telling) does not stand in it."""
    suite, found = problems(name)
    for problem in found[:: max(1, len(found) // 100)]:
        for chat in (True, False):
            prompt = suite.render(problem, chat=chat)
            assert bool(prompt.messages) == chat
            assert (prompt.text is not None) != chat
            shown = prompt.text if prompt.text is not None else "\n".join(turn.content for turn in prompt.messages)
            if problem.gold is not None and len(problem.gold) > 80:
                assert problem.gold not in shown


def first_prompts() -> Iterator[str]:
    for name in (name for name in COUNTS if ":" not in name):
        suite, found = problems(name)
        for chat in (True, False):
            prompt = suite.render(found[0], chat=chat)
            yield f"=== {name} {'chat' if chat else 'base'}\n"
            for message in prompt.messages:
                yield f"[{message.role}]\n{message.content}\n"
            if prompt.text is not None:
                yield f"{prompt.text}|stop {prompt.stop}|choices {prompt.choices}\n"
            for tool in prompt.tools:
                yield f"[tool] {json.dumps(tool)}\n"


def test_prompts_are_the_reviewed_ones() -> None:
    """A change of a prompt changes scores: bump the suite's version with the snapshot."""
    snapshot = Path(__file__).with_name("prompts.txt")
    assert "".join(first_prompts()) == snapshot.read_text("utf-8")


def test_gold_answers_say_what_the_data_says() -> None:
    for problem in problems("gsm8k")[1]:
        assert isinstance(problem.check, MathCheck)
        assert problem.check.answer.lstrip("-").replace(".", "").isdigit()
        assert final_answer(problem.gold or "") == problem.check.answer
    for problem in problems("mmlu_redux")[1][::50]:
        assert isinstance(problem.check, ChoiceCheck)
        assert choice_letter(problem.gold or "", 4) == problem.check.answer


@pytest.mark.parametrize("name", ["humaneval_plus", "mbpp_plus"])
def test_gold_programs_are_extracted_whole(name: str) -> None:
    suite, found = problems(name)
    for problem in found:
        code = suite.answer(problem, problem.gold or "")
        assert isinstance(code, str)
        assert re.search(rf"def {problem.metadata['entry_point']} ?\(", code)
        compile(code, problem.id, "exec")
        assert suite.answer(problem, f"<think>hm</think>{problem.gold}") == code
        assert suite.answer(problem, f"<think>{problem.gold}") == ""
        assert suite.answer(problem, "") == ""


def test_a_base_model_that_continues_gives_the_whole_function() -> None:
    suite, found = problems("humaneval_plus")
    body = "\n    return sorted(numbers) != numbers\n"
    code = suite.answer(found[0], body)
    assert isinstance(code, str)
    assert code.startswith("from typing import List")
    assert code.rstrip().endswith("return sorted(numbers) != numbers")


def test_humaneval_plus_asks_for_all_124253_calls() -> None:
    assert sum(problem.metadata["calls"] for problem in problems("humaneval_plus")[1]) == 124_253
    base = sum(problem.metadata["calls"] for problem in problems("humaneval_plus:base")[1])
    assert base == sum(check(problem).groups["base"] for problem in problems("humaneval_plus")[1])


def check(problem: Problem) -> CallsCheck:
    assert isinstance(problem.check, CallsCheck)
    return problem.check


def test_evalplus_exceptions_are_where_it_has_them() -> None:
    names = {problem.metadata["entry_point"] for problem in problems("mbpp_plus")[1]}
    assert AS_SETS - names == {"intersection_array"}  # a rule of EvalPlus for a task that release 0.2.0 no longer has
    rules = Counter(check(problem).compare for problem in problems("mbpp_plus")[1])
    assert rules == {"allclose": 368, "set": 7, "not_none": 3}
    roots = [p.id for p in problems("humaneval_plus")[1] if check(p).compare == "root"]
    assert roots == ["HumanEval/32"]
    assert set(SECOND_READINGS) <= names
    assert SHAPES["Mbpp/115"]([[[1, 2], [], "a"]]) == [[{1, 2}, {}, {}]]
    assert SHAPES["Mbpp/124"](["0", "1j"]) == [0.0, 1j]
    assert SHAPES["Mbpp/259"]([[[1, 2], [3, 4]], [[5, 6]]]) == [((1, 2), (3, 4)), ((5, 6),)]
    assert SHAPES["Mbpp/722"]([{"a": [1, 2]}, 3]) == [{"a": (1, 2)}, 3]
    assert SHAPES["Mbpp/791"]([[1, [2, [3]]]]) == [(1, (2, (3,)))]


def test_math500_covers_its_seven_subjects() -> None:
    found = problems("math500")[1]
    assert len({problem.metadata["subject"] for problem in found}) == 7
    assert {problem.cluster for problem in found} == {None}  # all of MATH's subjects, not a draw of them
    assert {problem.metadata["level"] for problem in found} == {1, 2, 3, 4, 5}


def test_mmlu_redux_keeps_sound_rows_of_every_subject() -> None:
    clusters = Counter(problem.cluster for problem in problems("mmlu_redux")[1])
    assert len(clusters) == 57
    assert max(clusters.values()) <= 100


def test_bfcl_offers_json_schema_and_checks_with_its_own_types() -> None:
    suite, found = problems("bfcl")
    types = Counter[str]()

    def walk(schema: dict[str, object]) -> None:
        types[str(schema.get("type"))] += 1
        properties = schema.get("properties")
        for child in properties.values() if isinstance(properties, dict) else ():
            walk(child)
        if isinstance(schema.get("items"), dict):
            walk(schema["items"])  # type: ignore[arg-type]

    for problem in found:
        assert isinstance(problem.check, ToolCallCheck)
        offered = suite.render(problem, chat=True).tools
        names = [tool["function"]["name"] for tool in offered]
        assert len(set(names)) == len(names)
        assert not any("." in name for name in names)
        assert {name for call in problem.check.answer for name in call} <= set(names)
        for tool in offered:
            walk(tool["function"]["parameters"])
    assert set(types) <= {"object", "string", "integer", "number", "boolean", "array", "None"}


def test_a_parameter_called_type_is_no_keyword() -> None:
    from suites.tools.schema import openai_tool

    document = {
        "name": "f",
        "parameters": {
            "type": "dict",
            "properties": {"type": {"type": "float"}, "optional": {"type": "tuple", "optional": True}},
        },
    }
    parameters = openai_tool(document)["function"]["parameters"]
    assert parameters["properties"] == {"type": {"type": "number"}, "optional": {"type": "array", "items": {}}}


def test_bfcl_right_answers_to_nothing() -> None:
    suite, found = problems("bfcl")
    none = [problem for problem in found if suite.empty_is_right(problem)]
    assert len(none) == 240 + 884
    for problem in found:
        assert isinstance(problem.check, ToolCallCheck)
        assert problem.check.any_call == (problem.metadata["category"] == "live_relevance")
        assert (not problem.check.answer) == (problem in none or problem.check.any_call)
        if not suite.empty_is_right(problem):
            assert "<tool_call>" in (problem.gold or "")


def test_structured_calls_win_over_text() -> None:
    suite, found = problems("bfcl:simple_python")
    calls = [{"name": "calculate_triangle_area", "arguments": {"base": 10, "height": 5}}]
    assert suite.answer(found[0], "text", calls) == calls
    assert suite.answer(found[0], "text") == "text"


def test_gsm8k_shots_are_fixed_and_never_of_the_test_split() -> None:
    suite, found = problems("gsm8k")
    texts = {str(suite.render(problem, chat=False).text).split("Question: ")[1] for problem in found[:3]}
    assert len(texts) == 1
    shots = str(suite.render(found[0], chat=False).text)
    assert shots.count("Question: ") == 9
    assert not any(problem.ask in shots for problem in found[1:])


def test_reasoning_apart_leaves_gold_as_it_is() -> None:
    for name in ("gsm8k", "math500", "xstest"):
        for problem in problems(name)[1][:50]:
            assert split(problem.gold or "").answer == problem.gold


def test_what_bfcl_is_said_to_have_wrong_no_call_can_get_right() -> None:
    """The reference asks for exactly the wanted arguments, the required ones among them, each a possible value."""
    suite, found = problems("bfcl")
    impossible = set()
    for problem in found:
        assert isinstance(problem.check, ToolCallCheck)
        tools = {tool["name"]: tool["parameters"] for tool in problem.check.tools}
        for call in problem.check.answer:
            for name, wanted in call.items():
                required, known = set(tools[name]["required"]), set(tools[name]["properties"])
                must = {argument for argument, values in wanted.items() if "" not in values}
                no_value = {argument for argument in required | must if not wanted.get(argument)}
                if no_value or not must <= known:
                    impossible.add(problem.id)
    by_their_values = {name for name in suite.wrong_gold if not name.startswith("simple_java_")}
    assert impossible == by_their_values
