"""QuixBugs (Lin et al. 2017; OctoPack's form): 40 classic algorithms with a bug in one line, to be repaired.

Where the tests are assertions they are judged apart from the program (kind `asserts`); nine tasks have tests that build
nodes for it and are judged beside it (kind `program`).
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from sandboxes.check import Answer, AssertsCheck, Check, Limits, ProgramCheck
from suites.code.program import program_of
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource, github, read_jsonl
from suites.suite import Suite

SOURCE = DataSource(
    file="quixbugs/quixbugs_python.jsonl",
    sha256="7322b63b31c2e20c7e05b97ef05e674e30eed5601df5cce7545a1a77031bf4d3",
    licence="MIT",
    origin=github(
        "bigcode-project/octopack",
        "e17a8f6470264286bc6a52eb8263582083bf3bf6",
        "evaluation/other/QuixBugs/quixbugs_python.jsonl",
    ),
)
LIMITS = Limits(cpu_s=10)


class QuixBugs(Suite):
    """The buggy program is the known wrong answer of each task."""

    name = "quixbugs"
    category = "code"
    version = "1"
    summary = "40 classic algorithms in Python with a one-line bug to repair"
    sources = (SOURCE,)
    metric = "pass@1"
    sampling = Sampling(max_tokens=1024)

    def problems(self) -> Sequence[Problem]:
        """Rows as they are."""
        return [
            Problem(
                id=f"quixbugs/{row['name']}",
                ask=f"{row['docstring'].strip()}\n\n{row['buggy_program'].strip()}",
                check=_check(row["tests"]),
                gold=_fenced(row["solution"]),
                wrong=(_fenced(row["buggy_program"]),),
                metadata={"entry_point": row["name"]},
            )
            for row in read_jsonl(SOURCE)
        ]

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """The description and the buggy program."""
        name = problem.metadata["entry_point"]
        if chat:
            ask = (
                f"This Python program has a bug. Repair `{name}` and reply with one Python code block that holds the "
                f"whole repaired program.\n\n{_fenced(problem.ask)}"
            )
            return Prompt(messages=(Message("user", ask),))
        return Prompt(text=f"{problem.ask}\n\n# The bug in {name} fixed:\n", stop=("\n#", "\nassert", "\nif __name__"))

    def answer(self, problem: Problem, text: str, tool_calls: Sequence[dict[str, Any]] = ()) -> Answer:
        """The repaired program."""
        return program_of(text, problem.metadata["entry_point"])


def _check(tests: str) -> Check:
    statements = ast.parse(tests).body
    if all(isinstance(node, ast.Assert) for node in statements):
        return AssertsCheck(kind="asserts", tests=[ast.unparse(node) for node in statements], limits=LIMITS)
    return ProgramCheck(kind="program", tests=tests, limits=LIMITS)


def _fenced(code: str) -> str:
    return f"```python\n{code.strip()}\n```"
