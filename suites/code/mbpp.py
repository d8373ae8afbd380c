"""MBPP (Austin et al. 2021): the 500 tasks of its test split, each judged by its three assert statements.

Base models get three solved examples before the task (tasks 2, 3 and 4, the prompt split, in the paper's form with
[BEGIN] and [DONE]); chat models get the task and its tests.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Sequence
from typing import Any

from sandboxes.check import Answer, AssertsCheck, Check, CheckCheck, Limits, ProgramCheck
from sandboxes.extract import python_code, split
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource, github, read_jsonl
from suites.suite import Suite

SOURCE = DataSource(
    file="mbpp/mbpp.jsonl.gz",
    sha256="29845b0dc86965fbbab7505194f48ab10913fb473fe1c8283672002d2cd7ee94",
    content_sha256="ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f",
    licence="CC-BY-4.0",
    origin=github(
        "deepseek-ai/DeepSeek-Coder", "2f9fd85927c669dae3c0fbb2d607274023af243e", "Evaluation/MBPP/data/mbpp.jsonl"
    ),
)
TEST_SPLIT = range(11, 511)
SHOTS = (2, 3, 4)
LIMITS = Limits(cpu_s=10)


class Mbpp(Suite):
    """Tasks 11 to 510."""

    name = "mbpp"
    category = "code"
    version = "1"
    summary = "500 short Python tasks (test split), each judged by its three assert statements"
    sources = (SOURCE,)
    metric = "pass@1"
    sampling = Sampling(max_tokens=1024)

    def problems(self) -> Sequence[Problem]:
        """Ids are the data set's numbers; the examples for base models travel in the metadata."""
        rows = {row["task_id"]: row for row in read_jsonl(SOURCE)}
        shots = "".join(f"{_question(rows[number])}[BEGIN]\n{_code(rows[number])}\n[DONE]\n" for number in SHOTS)
        return [self._problem(rows[number], shots) for number in TEST_SPLIT]

    def _problem(self, row: dict[str, Any], shots: str) -> Problem:
        return Problem(
            id=f"mbpp/{row['task_id']}",
            ask=_question(row),
            check=_check(row),
            gold=f"```python\n{_code(row)}\n```",
            metadata={"entry_point": _function(row), "shots": shots},
        )

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """The task with its tests, after three solved ones for a base model."""
        if chat:
            ask = f"{problem.ask}\nReply with one Python code block that holds the function and what it needs."
            return Prompt(messages=(Message("user", ask),))
        return Prompt(text=f"{problem.metadata['shots']}{problem.ask}[BEGIN]\n", stop=("[DONE]",))

    def answer(self, problem: Problem, text: str, tool_calls: Sequence[dict[str, Any]] = ()) -> Answer:
        """The code of a block, or what a base model wrote between [BEGIN] and [DONE]."""
        found = split(text).answer or ""
        body = found.partition("[DONE]")[0].rpartition("[BEGIN]")[2]
        if "```" not in body and f"def {problem.metadata['entry_point']}" in body:
            return body.strip("\n")
        return python_code(found, problem.metadata["entry_point"]) or ""


def _check(row: dict[str, Any]) -> Check:
    tests, setup, name = row["test_list"], row["test_setup_code"].replace("\r\n", "\n"), _function(row)
    if setup:  # one task: it builds trees out of the candidate's own nodes
        return ProgramCheck(kind="program", tests="\n".join([setup, *tests]), limits=LIMITS)
    if name in vars(builtins):  # one task: in asserts the name would be the builtin's
        body = "".join(f"    {test}\n" for test in [f"{name} = candidate", *tests])
        return CheckCheck(kind="check", entry_point=name, test=f"def check(candidate):\n{body}", limits=LIMITS)
    return AssertsCheck(kind="asserts", tests=tests, limits=LIMITS)


def _question(row: dict[str, Any]) -> str:
    tests = "\n".join(row["test_list"])
    return (
        f"You are an expert Python programmer, and here is your task: {row['text']} "
        f"Your code should pass these tests:\n\n{tests}\n"
    )


def _code(row: dict[str, Any]) -> str:
    return str(row["code"]).replace("\r\n", "\n").strip("\n")


def _function(row: dict[str, Any]) -> str:
    """The function that the tests call: the one of those that the code defines."""
    defined = set(re.findall(r"(?m)^(?:def|class)\s+(\w+)", row["code"]))
    called: list[str] = re.findall(r"(\w+)\s*\(", row["test_list"][0])
    return next((name for name in called if name in defined), called[0])
