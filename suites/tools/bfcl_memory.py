"""BFCL v4's memory tasks (Patil et al.): a model keeps a memory over conversations, and is asked about them later.

Two of the three kinds of memory: `kv`, keys with values in a small core memory that every prompt shows and a larger
archive beside it; `rec_sum`, one text that the model rewrites. In each of five scenarios a user talks in five to ten
conversations, which are prerequisites here: the model calls the memory's functions as it sees fit. Each question then
begins with the memory as the last of them left it, and its answer is right where a possible one stands in it.

The third kind, `vector`, embeds texts with a model that no sandbox has. The memory's code is the reference's, and
runs in the judge; calls of the conversations before are repeated there, as within one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sandboxes.check import Answer, ContainsCheck
from sandboxes.sandbox import Sandbox
from sandboxes.verifiers.tool_text import Call
from suites.conversation import GoOn, ModelTurn
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource, read_jsonl
from suites.suite import Suite
from suites.tools.api_conversation import SimulatedApis, written
from suites.tools.bfcl import base_prompt
from suites.tools.bfcl_package import BM25, WHEEL, memory_setting, prompt_texts
from suites.tools.bfcl_sources import MEMORY, MEMORY_ANSWERS, MEMORY_FUNCTIONS, MEMORY_PREREQUISITES
from suites.tools.schema import openai_tool

UNKNOWN = "{'answer': 'I do not know', 'context': 'I do not know'}"
WHOLE = {"kv": "core_memory_retrieve_all", "rec_sum": "memory_retrieve"}
"""The call that gives what a prompt shows of the memory."""
EMPTY = {
    "kv": "There is no content in the core memory at this point.",
    "rec_sum": "There is no content in the memory at this point.",
}
NOT_JUDGED = ContainsCheck(kind="contains", answers=["a prerequisite is not judged"])


class BfclMemory(Suite):
    """One kind of memory, or both."""

    name = "bfcl_memory"
    category = "tools"
    version = "1"
    summary = "155 questions of BFCL v4 to each of two kinds of memory that conversations before have filled"
    sources = (MEMORY, MEMORY_ANSWERS, *MEMORY_PREREQUISITES.values(), *MEMORY_FUNCTIONS.values(), WHEEL, BM25)
    variants = tuple(MEMORY_FUNCTIONS)
    sampling = Sampling(temperature=0.01)

    def data(self) -> tuple[DataSource, ...]:
        """Of a memory without keys no ranking of keys."""
        return self.sources[:-1] if self.variant == "rec_sum" else self.sources

    def problems(self) -> Sequence[Problem]:
        """Ids are BFCL's own. Questions of one scenario are about one memory."""
        possible = {row["id"]: row["ground_truth"] for row in read_jsonl(MEMORY_ANSWERS)}
        last = {scenario: list(read_jsonl(file))[-1]["id"] for scenario, file in MEMORY_PREREQUISITES.items()}
        return [
            _question(kind, functions, row, possible[row["id"]], last[row["scenario"]])
            for kind, functions in self._functions()
            for row in read_jsonl(MEMORY)
        ]

    def prerequisites(self) -> Sequence[Problem]:
        """The conversations that fill a memory, each after the one before it in its scenario."""
        found = []
        for kind, functions in self._functions():
            for file in MEMORY_PREREQUISITES.values():
                before = None
                for row in read_jsonl(file):
                    found.append(_conversation(kind, functions, row, before))
                    before = found[-1].id
        return found

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """The assistant's part with what the memory holds now, and the question or what the user says first."""
        messages = (Message("system", _system(problem)), Message("user", problem.ask))
        tools = tuple(openai_tool(function) for function in problem.metadata["functions"])
        return Prompt(messages=messages, tools=tools) if chat else base_prompt(messages, tools)

    def converse(self, problem: Problem, sandbox: Sandbox | None) -> SimulatedApis:
        """One conversation with the user, or one question."""
        return (Remembering if "later" in problem.metadata else Answering)(problem, sandbox)

    def script(self, problem: Problem, text: str) -> Sequence[ModelTurn]:
        """A look at the memory, and the answer."""
        look = {"name": WHOLE[problem.metadata["kind"]], "arguments": {}}
        return (ModelTurn("", (look,), "tool_calls"), ModelTurn(text))

    def _functions(self) -> list[tuple[str, list[dict[str, Any]]]]:
        kinds = self.variants if self.variant is None else (self.variant,)
        return [(kind, list(read_jsonl(MEMORY_FUNCTIONS[kind]))) for kind in kinds]


class _OverMemory(SimulatedApis):
    def __init__(self, problem: Problem, sandbox: Sandbox | None) -> None:
        self._kind = problem.metadata["kind"]
        later = [GoOn((Message("user", said),)) for said in problem.metadata.get("later", ())]
        called = [Call(call["name"], call["arguments"]) for call in _before(problem).get("calls", ())]
        super().__init__(sandbox, memory_setting(self._kind), later, called)


class Remembering(_OverMemory):
    """Ends with all that was called so far in the scenario, and what the next prompt shows of the memory."""

    async def _ended(self, text: str) -> Answer:
        (whole,) = await self._results([Call(WHOLE[self._kind], {})])
        return [{"calls": written(self._called), "memory": shown(self._kind, whole)}]

    async def _stopped(self, why: str) -> Answer:
        return await self._ended("")


class Answering(_OverMemory):
    """Ends with the last text; a model that had to be stopped gave none."""

    async def _ended(self, text: str) -> Answer:
        return text

    async def _stopped(self, why: str) -> Answer:
        return ""


def shown(kind: str, whole: str) -> str:
    """What a prompt shows of a memory.

    Args:
        kind: kv or rec_sum.
        whole: What the call `WHOLE` gave.
    """
    held = json.loads(whole)
    if kind == "kv":
        return json.dumps(held, indent=4) if held else EMPTY[kind]
    return str(held.get("memory_content", EMPTY[kind]))


def _before(problem: Problem) -> dict[str, Any]:
    before = problem.metadata.get("before")
    return before[0] if before else {}


def _system(problem: Problem) -> str:
    texts, kind = prompt_texts(), problem.metadata["kind"]
    instruction = "MEMORY_BACKEND_INSTRUCTION_" + ("CORE_ARCHIVAL" if kind == "kv" else "UNIFIED")
    system: str = texts[instruction].format(
        scenario_setting=texts["MEMORY_AGENT_SETTINGS"][problem.metadata["scenario"]],
        memory_content=_before(problem).get("memory", EMPTY[kind]),
    )
    if "later" in problem.metadata:
        return system
    return f"{system}\n\n{texts['ADDITIONAL_SYSTEM_PROMPT_FOR_AGENTIC_RESPONSE_FORMAT']}"


def _question(
    kind: str, functions: list[dict[str, Any]], row: dict[str, Any], possible: list[str], last: str
) -> Problem:
    return Problem(
        id=_named(row["id"], kind),
        ask=row["question"][0][0]["content"],
        check=ContainsCheck(kind="contains", answers=possible, match="words"),
        gold=f"{{'answer': '{possible[0]}', 'context': 'You told me.'}}",
        cluster=row["scenario"],
        metadata=_metadata(kind, functions, row),
        wrong=(UNKNOWN,),
        follows=_named(last, kind),
    )


def _conversation(kind: str, functions: list[dict[str, Any]], row: dict[str, Any], before: str | None) -> Problem:
    first, *later = (turn[0]["content"] for turn in row["question"])
    return Problem(
        id=_named(row["id"], kind),
        ask=first,
        check=NOT_JUDGED,
        metadata=_metadata(kind, functions, row) | {"later": later},
        follows=before,
    )


def _metadata(kind: str, functions: list[dict[str, Any]], row: dict[str, Any]) -> dict[str, Any]:
    return {"category": f"memory_{kind}", "kind": kind, "scenario": row["scenario"], "functions": functions}


def _named(identifier: str, kind: str) -> str:
    return identifier.replace("memory", f"memory_{kind}", 1)
