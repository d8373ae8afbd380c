"""BFCL v4 (Patil et al.), the single-turn categories that its AST rule judges, live ones, Java and JavaScript included.

Each category is a variant; without one, all 3,641 tasks are asked and `category` in the metadata breaks them down.
Checks keep BFCL's own function documents, whose type names the AST rule needs (float is not integer there); prompts
offer the same functions as JSON schema. Names with dots are underscored in both, as the reference does for models
whose API forbids dots. Where the reference has no possible answers, no call is right (irrelevance), or any (relevance).
Java and JavaScript functions take their arguments as strings of source text, which the check reads by BFCL's rules.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from sandboxes.check import Answer, ToolCallCheck
from suites.catalogue import BFCL_CATEGORIES
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource, read_jsonl
from suites.suite import Suite
from suites.tools.bfcl_sources import ANSWERS, QUESTIONS
from suites.tools.schema import openai_tool
from suites.tools.source_text import source_text

Syntax = Literal["python", "java", "javascript"]
SYNTAX: dict[str, Syntax] = {"simple_java": "java", "simple_javascript": "javascript"}
NO_CALL = "None of the functions that I have been given can answer this."


class Bfcl(Suite):
    """One category (variant), or all of them."""

    name = "bfcl"
    category = "tools"
    version = "2"
    summary = "3,641 single-turn function-calling tasks of BFCL v4, judged by its AST rule"
    sources = (*QUESTIONS.values(), *ANSWERS.values())
    variants = BFCL_CATEGORIES
    sampling = Sampling(temperature=0.01)  # BFCL's own setting, and the one the Mellum 2 report used
    wrong_gold = MappingProxyType(
        {
            "simple_java_36": "items of type any are read as strings, and the possible values have the number 42",
            "simple_java_65": "items of type any are read as strings, and the possible values have the word true",
            "live_simple_106-63-0": "the required auto_loan_payment_start and bank_hours_start have no possible value",
            "live_simple_112-68-0": "five required arguments have no possible value",
            "live_multiple_862-181-3": "the wanted journey_start_time is no parameter of Trains_1_FindTrains",
            "live_multiple_964-207-0": "the wanted question is no parameter; the required statement is not wanted",
        }
    )

    def data(self) -> tuple[DataSource, ...]:
        """Questions, and possible answers where there are any, of the categories asked."""
        files = (files.get(category) for category in self._categories() for files in (QUESTIONS, ANSWERS))
        return tuple(file for file in files if file is not None)

    def problems(self) -> Sequence[Problem]:
        """Ids are BFCL's own."""
        return [problem for category in self._categories() for problem in category_problems(category)]

    def empty_is_right(self, problem: Problem) -> bool:
        """An empty answer makes no call: right in the two irrelevance categories."""
        return str(problem.metadata["category"]).endswith("irrelevance")

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """The conversation with the functions as tools; base models see them as JSON lines."""
        messages = tuple(Message(turn["role"], turn["content"]) for turn in problem.metadata["turns"])
        syntax = _check_of(problem).syntax
        tools = tuple(openai_tool(function, syntax=syntax) for function in _check_of(problem).tools)
        return Prompt(messages=messages, tools=tools) if chat else base_prompt(messages, tools)

    def answer(self, problem: Problem, text: str, tool_calls: Sequence[dict[str, Any]] = ()) -> Answer:
        """Structured calls where the server parsed them, else the text."""
        return list(tool_calls) or text

    def _categories(self) -> tuple[str, ...]:
        return BFCL_CATEGORIES if self.variant is None else (self.variant,)


def base_prompt(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> Prompt:
    """What a base model continues: the functions, how a call is written, and what was said."""
    offered = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in tools)
    asked = "\n".join(f"{message.role.capitalize()}: {message.content}" for message in messages)
    text = (
        "Functions, one JSON object a line:\n"
        f"{offered}\n\n"
        'Each call is written as <tool_call>{"name": ..., "arguments": {...}}</tool_call>, several one after '
        "another. Where no function fits, the answer says so and calls none.\n\n"
        f"{asked}\nAssistant:"
    )
    return Prompt(text=text, stop=("\nUser:", "\n\n"))


def _check_of(problem: Problem) -> ToolCallCheck:
    check = problem.check
    if not isinstance(check, ToolCallCheck):
        raise TypeError(f"{problem.id} is not a tool-call problem")
    return check


def category_problems(category: str) -> list[Problem]:
    """The problems of one category; gold is written as `<tool_call>` blocks."""
    answers_file = ANSWERS.get(category)
    answers = {row["id"]: row["ground_truth"] for row in read_jsonl(answers_file)} if answers_file else {}
    return [_problem(category, row, answers.get(row["id"], [])) for row in read_jsonl(QUESTIONS[category])]


def _problem(category: str, row: Mapping[str, Any], possible: list[dict[str, Any]]) -> Problem:
    tools = [function | {"name": plain(function["name"])} for function in row["function"]]
    answer = [{plain(name): arguments for name, arguments in call.items()} for call in possible]
    syntax: Syntax = SYNTAX.get(category, "python")
    turns = row["question"][0]  # one turn in these categories; multi-turn tasks are another suite's
    return Problem(
        id=row["id"],
        ask=turns[-1]["content"],
        check=ToolCallCheck(
            kind="tool_call", tools=tools, answer=answer, any_call=category == "live_relevance", syntax=syntax
        ),
        gold=_gold(category, tools, answer, syntax),
        cluster=_cluster(row["id"]),
        metadata={"category": category, "turns": turns},
    )


def _cluster(identifier: str) -> str | None:
    """Live ids are `live_simple_ROW-FUNCTIONS-PROMPT`: tasks over the same functions are not independent."""
    category, _, numbers = identifier.rpartition("_")
    parts = numbers.split("-")
    return f"{category}-{parts[1]}" if len(parts) == 3 else None


def plain(name: str) -> str:
    """A function's name without dots, as APIs want it."""
    return name.replace(".", "_")


def _gold(category: str, tools: list[dict[str, Any]], answer: list[dict[str, Any]], syntax: str) -> str:
    """The calls as a model writes them: the first possible value of each argument, optional ones left out."""
    if category.endswith("irrelevance"):
        return NO_CALL
    if category == "live_relevance":
        return _block(tools[0]["name"], {})
    schemas = {tool["name"]: tool["parameters"] for tool in tools}
    calls = []
    for name, possible in ((name, arguments) for call in answer for name, arguments in call.items()):
        chosen = _chosen(possible, schemas[name].get("required", ()))
        if syntax != "python":
            chosen = {key: _as_source(value, schemas[name]["properties"][key], syntax) for key, value in chosen.items()}
        calls.append(_block(name, chosen))
    return "\n".join(calls)


def _as_source(value: Any, schema: Mapping[str, Any], syntax: str) -> str:
    return source_text(value, schema["type"], (schema.get("items") or {}).get("type"), syntax)


def _block(name: str, arguments: Mapping[str, Any]) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False)}\n</tool_call>"


def _chosen(arguments: Mapping[str, list[Any]], required: Sequence[str]) -> dict[str, Any]:
    """An empty string among the possible values marks an argument that may be left out."""
    return {key: _argument(values) for key, values in arguments.items() if key in required or "" not in values}


def _argument(values: list[Any]) -> Any:
    """An object's fields have lists of possible values of their own, and so have those of objects in a list."""
    value = _first(values)
    if isinstance(value, dict):
        return _fields(value)
    if isinstance(value, list):
        return [_fields(item) if isinstance(item, dict) else item for item in value]
    return value


def _fields(possible: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Deeper than this the reference compares values as they stand."""
    return {key: _first(values) for key, values in possible.items() if "" not in values}


def _first(values: list[Any]) -> Any:
    return next((value for value in values if value != ""), "")
