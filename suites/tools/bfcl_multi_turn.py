"""BFCL's multi-turn tasks (Patil et al., v3): a user asks in turns, the model calls simulated APIs that keep state.

Four variants of 200 tasks: `base`; `miss_func`, where a function is offered only after it was missed; `miss_param`,
where a parameter is told only after it was missed; `long_context`, where files and listings are long. How a turn goes
is said in `api_conversation`.

Gold is a JSON list with the right calls of each turn, given in one step.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sandboxes.check import Answer, ApiCall, ApiStateCheck
from sandboxes.sandbox import Sandbox
from suites.conversation import GoOn, ModelTurn
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource, read_jsonl
from suites.suite import Suite
from suites.tools.api_conversation import SimulatedApis
from suites.tools.bfcl import base_prompt
from suites.tools.bfcl_package import MODULES, WHEEL, setting
from suites.tools.bfcl_sources import FUNCTION_DOCUMENTS, MULTI_TURN, MULTI_TURN_ANSWERS
from suites.tools.schema import openai_tool

MORE_FUNCTIONS = "There are more functions now. Please try again with them."
DONE = "That is done."


class BfclMultiTurn(Suite):
    """One variant, or all four."""

    name = "bfcl_multi_turn"
    category = "tools"
    version = "1"
    summary = "800 conversations of BFCL v3 over simulated APIs, judged by the state they leave"
    sources = (*MULTI_TURN.values(), *MULTI_TURN_ANSWERS.values(), *FUNCTION_DOCUMENTS.values(), WHEEL)
    variants = tuple(MULTI_TURN)
    sampling = Sampling(temperature=0.01)

    def data(self) -> tuple[DataSource, ...]:
        """Tasks and right calls of the variant; documents and sources of all APIs."""
        files = (table[kind] for kind in self._kinds() for table in (MULTI_TURN, MULTI_TURN_ANSWERS))
        return (*files, *FUNCTION_DOCUMENTS.values(), WHEEL)

    def problems(self) -> Sequence[Problem]:
        """Ids are BFCL's own. A task and its three variations are not independent."""
        documents = {file: list(read_jsonl(source)) for file, source in FUNCTION_DOCUMENTS.items()}
        return [problem for kind in self._kinds() for problem in _tasks(kind, documents)]

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """The first turn, with the functions that are offered in it."""
        messages, tools = _asked(problem, 0)
        return Prompt(messages=messages, tools=tools or ()) if chat else base_prompt(messages, tools or ())

    def answer(self, problem: Problem, text: str, tool_calls: Sequence[dict[str, Any]] = ()) -> Answer:
        """The steps of a conversation where they are given; a single completion is none."""
        return list(tool_calls) or text

    def converse(self, problem: Problem, sandbox: Sandbox | None) -> BfclConversation:
        """One sample's way through the turns."""
        return BfclConversation(problem, sandbox)

    def script(self, problem: Problem, text: str) -> Sequence[ModelTurn]:
        """The right calls of each turn, and a word that it is done."""
        turns: list[ModelTurn] = []
        for calls in json.loads(text):
            turns += [ModelTurn("", calls, "tool_calls")] if calls else []
            turns.append(ModelTurn(DONE))
        return turns

    def _kinds(self) -> tuple[str, ...]:
        return tuple(MULTI_TURN) if self.variant is None else (self.variant,)


class BfclConversation(SimulatedApis):
    """Ends with the calls of each step."""

    def __init__(self, problem: Problem, sandbox: Sandbox | None) -> None:
        turns = range(1, len(problem.metadata["turns"]))
        later = [GoOn(*_asked(problem, turn)) for turn in turns]
        super().__init__(sandbox, _check_of(problem).setting, later)

    async def _ended(self, text: str) -> Answer:
        return self._said

    async def _stopped(self, why: str) -> Answer:
        return [*self._said, {"turn": self._turn, "stopped": why}]


def _check_of(problem: Problem) -> ApiStateCheck:
    check = problem.check
    if not isinstance(check, ApiStateCheck):
        raise TypeError(f"{problem.id} is no task over simulated APIs")
    return check


def _asked(problem: Problem, turn: int) -> tuple[tuple[Message, ...], tuple[Mapping[str, Any], ...] | None]:
    """What the user says in a turn, and the functions on offer where they change with it."""
    offered = problem.metadata["offered"]
    tools = offered.get(str(turn))
    said = problem.metadata["turns"][turn] or [{"role": "user", "content": MORE_FUNCTIONS}]
    messages = tuple(Message(message["role"], message["content"]) for message in said)
    return messages, None if tools is None else tuple(openai_tool(function) for function in tools)


def _tasks(kind: str, documents: Mapping[str, list[dict[str, Any]]]) -> list[Problem]:
    right = {row["id"]: row["ground_truth"] for row in read_jsonl(MULTI_TURN_ANSWERS[kind])}
    return [_task(kind, row, right[row["id"]], documents) for row in read_jsonl(MULTI_TURN[kind])]


def _task(kind: str, row: Mapping[str, Any], right: list[list[str]], documents: Mapping[str, Any]) -> Problem:
    functions = [document for name in row["involved_classes"] for document in documents[MODULES[name]]]
    gold = [[_call(text) for text in turn] for turn in right]
    parameters = {function["name"]: list(function["parameters"]["properties"]) for function in functions}
    return Problem(
        id=row["id"],
        ask=row["question"][0][-1]["content"],
        check=ApiStateCheck(
            kind="api_state",
            setting=setting(row["involved_classes"], row["initial_config"], long_context=kind == "long_context"),
            gold=gold,
        ),
        gold=json.dumps([[_named(call, parameters) for call in turn] for turn in gold], ensure_ascii=False),
        cluster=f"task-{row['id'].rpartition('_')[2]}",
        metadata={
            "category": f"multi_turn_{kind}",
            "turns": row["question"],
            "offered": _offered(functions, row.get("missed_function", {})),
        },
    )


def _offered(functions: list[dict[str, Any]], missed: Mapping[str, list[str]]) -> dict[str, list[dict[str, Any]]]:
    """Turn → functions on offer from then on: those that will be missed come with their turn, and last."""
    held = [name for names in missed.values() for name in names]
    now = [function for function in functions if function["name"] not in held]
    offered = {"0": now}
    for turn, names in missed.items():
        now = now + [function for name in names for function in functions if function["name"] == name]
        offered[turn] = now
    return offered


def _call(text: str) -> ApiCall:
    """A right call, as the data set writes it: constants, by name or by place. Nothing of a model's comes here."""
    call = ast.parse(text.strip(), mode="eval").body
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
        raise ValueError(f"no call: {text[:100]}")
    return ApiCall(
        name=call.func.id,
        args=[ast.literal_eval(value) for value in call.args],
        kwargs={str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords},
    )


def _named(call: ApiCall, parameters: Mapping[str, list[str]]) -> dict[str, Any]:
    """The call as a model makes it: every argument by name."""
    by_place = dict(zip(parameters[call.name], call.args, strict=False))
    return {"name": call.name, "arguments": by_place | call.kwargs}
