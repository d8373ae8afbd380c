"""CanItEdit (Cassano et al. 2023): 105 Python programs to be edited, told in detail (descriptive) or in brief (lazy).

The program of the answer, with the data set's tests after it, must run to its end (kind `program`), as the reference
does. 22 tasks need libraries (numpy, pandas, torch, z3, …); `:descriptive_stdlib` and `:lazy_stdlib` are the other 83.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from types import MappingProxyType
from typing import Any

from sandboxes.check import Answer, Limits, ProgramCheck
from sandboxes.extract import last_fenced_block, split
from sandboxes.sandbox import Sandbox
from suites.code.libraries import require_libraries
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource, read_jsonl
from suites.suite import Suite

SOURCE = DataSource(
    file="canitedit/canitedit.jsonl.gz",
    sha256="47d6484f2600a0b7705a7896e32457bdff343fd692d8e7bdc272b39888b34ecb",
    content_sha256="7c4c3519eddb34dd914adabd5b0c6bdb816fa97289ace3c7948134a3558d2bfc",
    licence="BSD-3-Clause with a clause against training on it",
    origin="hf:nuprl/CanItEdit@main/canitedit.jsonl.gz",
)
LIMITS = Limits(cpu_s=30, wall_s=180, memory_mb=2048)
_MODULES = {"scikit-learn": "sklearn"}


class CanItEdit(Suite):
    """Without a variant: descriptive."""

    name = "canitedit"
    category = "code"
    version = "1"
    summary = "105 edits of Python programs, told in detail or in brief, judged by tests"
    sources = (SOURCE,)
    variants = ("descriptive", "lazy", "descriptive_stdlib", "lazy_stdlib")
    metric = "pass@1"
    sampling = Sampling(max_tokens=2048)
    wrong_gold = MappingProxyType({})
    right_wrong = MappingProxyType({})

    def problems(self) -> Sequence[Problem]:
        """Rows as they are; the program before the edit is the known wrong answer."""
        told = "instruction_lazy" if (self.variant or "").startswith("lazy") else "instruction_descriptive"
        plain = (self.variant or "").endswith("_stdlib")
        return [
            self._problem(row, row[told]) for row in read_jsonl(SOURCE) if not (plain and row["taxonomy"]["libraries"])
        ]

    async def prepare(self, sandbox: Sandbox, *, wanted: Collection[str] | None = None) -> Sequence[Problem]:
        """The problems, where their libraries are.

        Raises:
            SandboxUnavailable: They are not in this sandbox.
        """
        problems = self.problems()
        asked = [problem for problem in problems if wanted is None or problem.id in wanted]
        needed = {_MODULES.get(name, name) for problem in asked for name in problem.metadata["libraries"]}
        await require_libraries(
            sandbox,
            sorted(needed - sys.stdlib_module_names),
            "CanItEdit",
            f"take {self.name}:{'lazy' if (self.variant or '').startswith('lazy') else 'descriptive'}_stdlib, "
            "or an image that has them",
        )
        return problems

    def _problem(self, row: dict[str, Any], told: str) -> Problem:
        return Problem(
            id=row["full_name"],
            ask=told,
            check=ProgramCheck(kind="program", tests=row["tests"], limits=LIMITS),
            gold=_fenced(row["after"]),
            wrong=(_fenced(row["before"]),),
            metadata={
                "before": row["before"],
                "change_kind": row["taxonomy"]["change_kind"],
                "topic": row["taxonomy"]["topic"],
                "libraries": row["taxonomy"]["libraries"],
            },
        )

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """The program and what is to be done to it."""
        before = problem.metadata["before"].strip()
        if chat:
            ask = (
                f"Edit this Python program.\n\n{_fenced(before)}\n\n{problem.ask.strip()}\n\n"
                "Reply with one Python code block that holds the whole edited program."
            )
            return Prompt(messages=(Message("user", ask),))
        text = f"## Code Before:\n{before}\n## Instruction:\n{problem.ask.strip()}\n## Code After:\n"
        return Prompt(text=text, stop=("\n## ",))

    def answer(self, problem: Problem, text: str, tool_calls: Sequence[dict[str, Any]] = ()) -> Answer:
        """The last block, or all of what a base model wrote."""
        found = split(text).answer or ""
        block = last_fenced_block(found, "python") or last_fenced_block(found)
        return block if block is not None else found.partition("\n## ")[0].strip("\n")


def _fenced(code: str) -> str:
    return f"```python\n{code.strip()}\n```"
