"""SWE-bench (Jimenez et al. 2024): issues of real repositories, resolved where the repository's own tests say so.

`:verified` (the default; 500 instances that people found sound) and `:lite` (300) come from the hub, at the last
revision without commands of its own, which the package swebench 4.1.0 has. `swe_bench:FILE.jsonl` or `FILE.parquet`
are instances of one's own of the same form. Each is worked on and judged in its own image: see
`suites.code.swe_bench_workspace` and `sandboxes.verifiers.instance`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from sandboxes.check import Answer, InstanceCheck
from sandboxes.instances import Instances
from sandboxes.sandbox import Sandbox
from suites.code.swe_bench_rows import check_of, own_file, rows, with_command
from suites.code.swe_bench_workspace import TOOLS, InstanceWorkspace
from suites.code.workspace import described
from suites.conversation import Conversation, ModelTurn
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource
from suites.suite import Suite

_FILE = "data/test-00000-of-00001.parquet"
SOURCES = {
    "verified": DataSource(
        file="swe_bench/verified.parquet",
        sha256="",
        licence="MIT (SWE-bench); the repositories' own for their code",
        origin=f"hf:princeton-nlp/SWE-bench_Verified@c104f840cc67f8b6eec6f759ebc8b2693d585d4a/{_FILE}",
    ),
    "lite": DataSource(
        file="swe_bench/lite.parquet",
        sha256="",
        licence="MIT (SWE-bench); the repositories' own for their code",
        origin=f"hf:princeton-nlp/SWE-bench_Lite@6ec7bb89b9342f664a54a6e0a6ea6501d3437cc2/{_FILE}",
    ),
}
_SYSTEM = (
    "You work on the repository in {folder} with tools. Look at it, change it so that the issue is resolved, and when "
    "it is done reply without calling a tool. Changes to test files, to conftest.py and to the configuration of tests "
    "are not taken; other tests, which you do not see, will judge the result."
)


class SweBench(Suite):
    """Issues, with the repository in an image."""

    name = "swe_bench"
    category = "code"
    version = "1"
    summary = "issues of real repositories (SWE-bench Verified or Lite, or a file of instances), each in its own image"
    metric = "pass@1"
    sampling = Sampling(max_tokens=8192)
    sources = tuple(SOURCES.values())
    variants = tuple(SOURCES)

    def data(self) -> tuple[DataSource, ...]:
        """The variant's file."""
        named = SOURCES.get(self.variant or "verified")
        return (named or own_file(str(self.variant)),)

    def problems(self) -> Sequence[Problem]:
        """Rows as they are.

        Raises:
            UnknownSuite: A row of a file is not of the form.
        """
        return [_problem(row) for row in self._rows.values()]

    async def prepare(self, sandbox: Sandbox, *, wanted: Collection[str] | None = None) -> Sequence[Problem]:
        """The problems with the test commands that swebench has for those that bring none."""
        del sandbox
        found, images = [], []
        for problem in self.problems():
            if wanted is not None and problem.id not in wanted:
                continue
            assert isinstance(problem.check, InstanceCheck)
            images.append(problem.check.image)
            found.append(replace(problem, check=await with_command(problem.check, self._rows[problem.id])))
        await self._instances.require(images)
        return found

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """The issue, with the tools offered; a base model gets them, and the form of a call, in words."""
        assert isinstance(problem.check, InstanceCheck)
        system = _SYSTEM.format(folder=problem.check.folder)
        if chat:
            return Prompt(messages=(Message("system", system), Message("user", problem.ask)), tools=TOOLS)
        form = '<tool_call>\n{"name": NAME, "arguments": {...}}\n</tool_call>'
        tools = f"Tools:\n{described(TOOLS)}\n\nA call is written as\n{form}"
        return Prompt(text=f"{system}\n\n{tools}\n\n{problem.ask}\n\n")

    def answer(self, problem: Problem, text: str, tool_calls: Sequence[dict[str, Any]] = ()) -> Answer:
        """A diff, of somebody who worked without the tools."""
        return text

    def converse(self, problem: Problem, sandbox: Sandbox | None) -> Conversation:
        """A workspace of the sample's own."""
        assert isinstance(problem.check, InstanceCheck)
        return InstanceWorkspace(problem.check, self._instances)

    def script(self, problem: Problem, text: str) -> Sequence[ModelTurn]:
        """Looks around and answers with the diff."""
        look = ModelTurn("", ({"name": "list_files", "arguments": {"folder": ""}},), "tool_calls")
        return (look, ModelTurn(f"```diff\n{text.rstrip()}\n```"))

    @cached_property
    def _rows(self) -> Mapping[str, dict[str, Any]]:
        return {str(row["instance_id"]): row for row in rows(self.data()[0])}

    @cached_property
    def _instances(self) -> Instances:
        return Instances()


def _problem(row: Mapping[str, Any]) -> Problem:
    repository = str(row.get("repo") or "")
    return Problem(
        id=str(row["instance_id"]),
        ask=str(row["problem_statement"]).strip(),
        check=check_of(row),
        gold=str(row["patch"]),
        cluster=repository or None,
        metadata={"repository": repository, "version": str(row.get("version") or "")},
    )
