"""BFCL v4's memory tasks (Patil et al.): a model keeps a memory over conversations, and is asked about them later.

Three kinds of memory: `kv`, keys with values in a small core memory that every prompt shows and a larger archive beside
it; `vector`, the same of texts that are found by what they mean; `rec_sum`, one text that the model rewrites. In each
of five scenarios a user talks in five to ten conversations, which are prerequisites here: the model calls the memory's
functions as it sees fit. Each question then begins with the memory as the last of them left it, and its answer is
right where a possible one stands in it.

The code of `kv` and `rec_sum` is the reference's, and runs in the judge; calls of the conversations before are repeated
there, as within one. `vector` embeds texts by a model that no sandbox has: it is ours, runs in this process, and goes
on from what the conversation before left. It is asked by its own name alone, since not everybody has that model.
"""

from __future__ import annotations

import asyncio
import json
from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any

from sandboxes.check import Answer, ContainsCheck
from sandboxes.sandbox import Sandbox
from sandboxes.verifiers.tool_text import Call
from suites.conversation import GoOn, ModelTurn
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource, read_jsonl
from suites.suite import Suite
from suites.tools import sentence_encoder
from suites.tools.api_conversation import ApiConversation, SimulatedApis, result_text, written
from suites.tools.bfcl import base_prompt
from suites.tools.bfcl_package import BM25, WHEEL, memory_setting, prompt_texts
from suites.tools.bfcl_sources import MEMORY, MEMORY_ANSWERS, MEMORY_FUNCTIONS, MEMORY_PREREQUISITES
from suites.tools.schema import openai_tool
from suites.tools.vector_memory import ARCHIVE, CORE, MemoryAPI_vector, VectorStore

UNKNOWN = "{'answer': 'I do not know', 'context': 'I do not know'}"
REPEATED = ("kv", "rec_sum")
WHOLE = {"kv": "core_memory_retrieve_all", "rec_sum": "memory_retrieve", "vector": "core_memory_retrieve_all"}
"""The call that gives what a prompt shows of the memory."""
EMPTY = {
    "kv": "There is no content in the core memory at this point.",
    "rec_sum": "There is no content in the memory at this point.",
    "vector": "{}",  # the reference takes no store for an empty one
}
ASKED = (MEMORY, MEMORY_ANSWERS, *MEMORY_PREREQUISITES.values())
NOT_JUDGED = ContainsCheck(kind="contains", answers=["a prerequisite is not judged"])


class BfclMemory(Suite):
    """One kind of memory, or both of those whose code is the reference's."""

    name = "bfcl_memory"
    category = "tools"
    version = "1"
    summary = "155 questions of BFCL v4 to each kind of memory that conversations before have filled"
    sources = (*ASKED, *MEMORY_FUNCTIONS.values(), WHEEL, BM25, *sentence_encoder.FILES)
    variants = tuple(MEMORY_FUNCTIONS)
    sampling = Sampling(temperature=0.01)

    def data(self) -> tuple[DataSource, ...]:
        """The encoder's files for vectors only; of a memory without keys no ranking of keys."""
        if self.variant == "vector":
            return (*ASKED, MEMORY_FUNCTIONS["vector"], WHEEL, *sentence_encoder.FILES)
        ranking = () if self.variant == "rec_sum" else (BM25,)
        return (*ASKED, *(MEMORY_FUNCTIONS[kind] for kind in REPEATED), WHEEL, *ranking)

    def require(self) -> None:
        """For vectors, the encoder."""
        if self.variant == "vector":
            sentence_encoder.require()

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

    def converse(self, problem: Problem, sandbox: Sandbox | None) -> ApiConversation:
        """One conversation with the user, or one question."""
        return OverVectors(problem) if problem.metadata["kind"] == "vector" else OverCalls(problem, sandbox)

    def script(self, problem: Problem, text: str) -> Sequence[ModelTurn]:
        """A look at the memory, and the answer."""
        look = {"name": WHOLE[problem.metadata["kind"]], "arguments": {}}
        return (ModelTurn("", (look,), "tool_calls"), ModelTurn(text))

    def _functions(self) -> list[tuple[str, list[dict[str, Any]]]]:
        kinds = REPEATED if self.variant is None else (self.variant,)
        return [(kind, list(read_jsonl(MEMORY_FUNCTIONS[kind]))) for kind in kinds]


class _OverMemory(ApiConversation):
    """A conversation ends with what it left in the memory, a question with the last text.

    A model that had to be stopped has kept what it kept, and gave no text.
    """

    _remembers: bool

    @abstractmethod
    async def _left(self) -> dict[str, Any]:
        """What the conversations after this one begin with, and under `memory` what their prompts show."""

    async def _ended(self, text: str) -> Answer:
        return [await self._left()] if self._remembers else text

    async def _stopped(self, why: str) -> Answer:
        return await self._ended("")


class OverCalls(_OverMemory, SimulatedApis):
    """The reference's memory: what was called so far in the scenario is what it holds."""

    def __init__(self, problem: Problem, sandbox: Sandbox | None) -> None:
        self._kind, self._remembers = problem.metadata["kind"], "later" in problem.metadata
        called = [Call(call["name"], call["arguments"]) for call in _before(problem).get("calls", ())]
        super().__init__(sandbox, memory_setting(self._kind), _later(problem), called)

    async def _left(self) -> dict[str, Any]:
        (whole,) = await self._results([Call(WHOLE[self._kind], {})])
        return {"calls": written(self._called), "memory": shown(self._kind, whole)}


class OverVectors(_OverMemory):
    """A memory in this process."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(_later(problem))
        self._remembers = "later" in problem.metadata
        held = _before(problem)
        self._core = VectorStore(CORE, sentence_encoder.embed, held.get("core"))
        self._archive = VectorStore(ARCHIVE, sentence_encoder.embed, held.get("archive"))
        memory = MemoryAPI_vector(self._core, self._archive)
        names = [function["name"] for function in problem.metadata["functions"]]
        self._offered = {name: partial(asyncio.to_thread, getattr(memory, name)) for name in names}

    async def _run(self, calls: Sequence[Call]) -> list[str]:
        return [await result_text(self._offered, call) for call in calls]

    async def _left(self) -> dict[str, Any]:
        return {"core": self._core.held(), "archive": self._archive.held(), "memory": self._core.shown()}


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


def _later(problem: Problem) -> list[GoOn]:
    return [GoOn((Message("user", said),)) for said in problem.metadata.get("later", ())]


def _before(problem: Problem) -> dict[str, Any]:
    before = problem.metadata.get("before")
    return before[0] if before else {}


def _system(problem: Problem) -> str:
    texts, kind = prompt_texts(), problem.metadata["kind"]
    instruction = "MEMORY_BACKEND_INSTRUCTION_" + ("UNIFIED" if kind == "rec_sum" else "CORE_ARCHIVAL")
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
