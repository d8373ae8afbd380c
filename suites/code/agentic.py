"""Agentic coding: small Python repositories written for this suite, worked on with tools and judged by hidden tests.

The model may list, read, search, write, edit and delete files and run the visible tests, over several turns. What it
leaves is judged by tests that it never saw (kind `repository`), which reach the repository by calls alone. Tasks are
text files beside this one: what is asked, the repository, visible and hidden tests, the right patch and wrong ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from sandboxes.check import Answer, Limits, RepositoryCheck
from sandboxes.errors import SandboxError
from sandboxes.sandbox import Sandbox
from suites.code.workspace import TOOLS, RepositoryWorkspace, as_calls, described
from suites.conversation import Conversation, ModelTurn
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.suite import Suite

READ_ONLY = ["tests/"]
LIMITS = Limits(cpu_s=10, memory_mb=512)
_SYSTEM = (
    "You work on a small Python repository with tools. Look at it, make the change that is asked for, run the tests, "
    "and when it is done reply without calling a tool. The files under tests/ must not be changed; other tests, which "
    "you do not see, will judge the result."
)
_SECTION = re.compile(r"^=== (?P<kind>\w+) ?(?P<name>\S*)$", re.MULTILINE)


class AgenticCoding(Suite):
    """Bug fixes, features and refactorings."""

    name = "agentic_coding"
    category = "code"
    version = "1"
    summary = "small Python repositories, changed with tools over several turns, judged by hidden tests"
    metric = "pass@1"
    sampling = Sampling(max_tokens=4096)

    def problems(self) -> Sequence[Problem]:
        """Tasks in the order of their names."""
        folder = files("suites.code") / "repositories"
        found = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".txt")), key=lambda e: e.name)
        return [_task(entry.name.removesuffix(".txt"), entry.read_text("utf-8")) for entry in found]

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """The task, with the tools offered; a base model gets them, and the form of a call, in words."""
        if chat:
            return Prompt(messages=(Message("system", _SYSTEM), Message("user", problem.ask)), tools=TOOLS)
        form = '<tool_call>\n{"name": NAME, "arguments": {...}}\n</tool_call>'
        return Prompt(
            text=f"{_SYSTEM}\n\nTools:\n{described(TOOLS)}\n\nA call is written as\n{form}\n\n{problem.ask}\n\n"
        )

    def answer(self, problem: Problem, text: str, tool_calls: Sequence[dict[str, Any]] = ()) -> Answer:
        """Changes as JSON, of somebody who worked without the tools."""
        return text

    def converse(self, problem: Problem, sandbox: Sandbox | None) -> Conversation:
        """A workspace of the sample's own.

        Raises:
            SandboxError: There is no sandbox to run tests in.
        """
        if sandbox is None:
            raise SandboxError("tests cannot be run without a sandbox")
        assert isinstance(problem.check, RepositoryCheck)
        return RepositoryWorkspace(problem.check, sandbox)

    def script(self, problem: Problem, text: str) -> Sequence[ModelTurn]:
        """Looks around, makes the changes, runs the tests, and is done."""
        look = ModelTurn("", ({"name": "list_files", "arguments": {}},), "tool_calls")
        change = ModelTurn("", as_calls(json.loads(text)), "tool_calls")
        run = ModelTurn("", ({"name": "run_tests", "arguments": {}},), "tool_calls")
        return (look, change, run, ModelTurn("Done."))


def _task(name: str, text: str) -> Problem:
    """A task file: sections that begin with `=== KIND NAME`, in any order."""
    parts = _SECTION.split(text)
    sections = [(parts[at], parts[at + 1], parts[at + 2].strip("\n") + "\n") for at in range(1, len(parts), 3)]
    ask = next(body for kind, _, body in sections if kind == "ask")
    exports = dict(
        line.split(" = ") for kind, _, body in sections if kind == "exports" for line in body.strip().splitlines()
    )
    check = RepositoryCheck(
        kind="repository",
        files={"tests/__init__.py": "", **{path: body for kind, path, body in sections if kind == "file"}},
        read_only=READ_ONLY,
        exports=exports,
        test=next(body for kind, _, body in sections if kind == "hidden"),
        limits=LIMITS,
    )
    kinds = sorted({kind for kind, _, _ in sections if kind.startswith("wrong")})
    return Problem(
        id=f"agentic/{name}",
        ask=ask.strip(),
        check=check,
        gold=_patch(sections, "gold"),
        wrong=tuple(_patch(sections, kind) for kind in kinds),
        metadata={"files": len(check.files)},
    )


def _patch(sections: Sequence[tuple[str, str, str]], wanted: str) -> str:
    return json.dumps([{"path": path, "content": body} for kind, path, body in sections if kind == wanted])
