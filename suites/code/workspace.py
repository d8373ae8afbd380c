"""An agent's workspace: a repository held as data on the trusted side, and the tools that look at it and change it.

Nothing of the repository is a file out here, so no path can lead anywhere. `run_tests` copies it into the arena, runs
the visible tests there, and shows the end of what they printed. The hidden tests are not here at all: they are in the
problem's check.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sandboxes.check import Answer, Limits, RepositoryCheck
from sandboxes.endings import breach
from sandboxes.errors import LostTwice
from sandboxes.languages import LANGUAGES
from sandboxes.programs import Execution, Program, Programs
from sandboxes.repository import MOST_FILES, BadChange, changed, changes_in, is_under
from sandboxes.retry import judged
from sandboxes.sandbox import Sandbox
from sandboxes.verifiers.tool_text import MalformedCall, calls_in
from suites.conversation import GoOn, ModelTurn, Over, Step
from suites.problem import Message

MOST_TURNS = 30
MOST_CALLS = 16
"""Calls of one turn that are carried out."""
LONGEST_RESULT = 8000
RUN = ("bash", "-c", "exec python3 -B -m unittest discover -s tests -t . 2>&1")
RUN_LIMITS = Limits(cpu_s=10, memory_mb=512)
RUN_OUTPUT = 1 << 20


def tool(name: str, description: str, **parameters: str) -> dict[str, Any]:
    """A function of text parameters, name → what it is, in the OpenAI form."""
    properties = {key: {"type": "string", "description": text} for key, text in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": list(parameters)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


CHANGING = (
    tool("search", "Show the lines of all files that contain a text.", text="What to look for, as it stands there."),
    tool("write_file", "Write a whole file, new or not.", path="Path of the file.", content="All of its text."),
    tool(
        "edit_file",
        "Replace a text that stands in a file exactly once.",
        path="Path of the file.",
        old="The text as it stands there.",
        new="What takes its place.",
    ),
    tool("delete_file", "Delete a file.", path="Path of the file."),
)
"""The tools that every workspace offers alike."""
TOOLS = (
    tool("list_files", "List the repository's files."),
    tool("read_file", "Show a file with line numbers.", path="Path of the file."),
    *CHANGING,
    tool("run_tests", "Run the repository's own tests and show what they print."),
)


class BadCall(ValueError):
    """A call that cannot be carried out; the model is told why."""


class Workspace:
    """The conversation about one repository. It ends with a turn without calls, or after `most_turns`."""

    most_turns = MOST_TURNS
    most_files = MOST_FILES

    def __init__(self, files: Mapping[str, str], read_only: Sequence[str] = ()) -> None:
        """Begin.

        Args:
            files: The repository as it was: path → content.
            read_only: Files, and folders that end in `/`, which must not be changed.
        """
        self.begin(files)
        self._read_only = read_only
        self._turns = 0
        self._tools: Mapping[str, Callable[..., str]] = {
            "list_files": self._list,
            "read_file": self._read,
            "search": self._search,
            "write_file": self._write,
            "edit_file": self._edit,
            "delete_file": self._delete,
        }
        self._slow: dict[str, Callable[..., Awaitable[str]]] = {}
        """Tools that run something; the end of what that prints is shown."""

    def begin(self, files: Mapping[str, str]) -> None:
        """Take the repository as it was."""
        self._before, self.files = files, dict(files)

    async def step(self, turn: ModelTurn) -> Step:
        """Carry out the turn's calls.

        Raises:
            SandboxError: Something could not be run, and that was not the model's doing.
        """
        self._turns += 1
        try:
            calls = _calls(turn)
        except MalformedCall as error:
            return self._next(turn, [Message("tool", f"error: the call cannot be read: {error}")])
        if not calls:
            return Over(self.answer(turn))
        results = [await self._result(name, arguments) for name, arguments in calls[:MOST_CALLS]]
        results += ["error: too many calls in one turn; this one was not carried out"] * len(calls[MOST_CALLS:])
        return self._next(turn, [Message("tool", result) for result in results])

    def answer(self, turn: ModelTurn) -> Answer:
        """What is judged after the last turn."""
        return self.changes()

    def changes(self) -> list[dict[str, Any]]:
        """What is different from the repository as it was."""
        paths = sorted(self.files.keys() | self._before.keys())
        return [
            {"path": path, "content": self.files.get(path)}
            for path in paths
            if self.files.get(path) != self._before.get(path)
        ]

    async def aclose(self) -> None:
        """Nothing is held."""

    def _next(self, turn: ModelTurn, messages: Sequence[Message]) -> Step:
        return Over(self.answer(turn)) if self._turns >= self.most_turns else GoOn(tuple(messages))

    async def _result(self, name: str, arguments: Any) -> str:
        if not isinstance(arguments, Mapping) or not all(isinstance(value, str) for value in arguments.values()):
            return "error: arguments must be an object of strings"
        try:
            slow = self._slow.get(name)
            if slow is not None:
                return _clipped(await slow(**arguments), end=True)
            quick = self._tools.get(name)
            if quick is None:
                raise BadCall(f"there is no tool {name[:50]!r}; there are {', '.join((*self._tools, *self._slow))}")
            return _clipped(quick(**arguments))
        except TypeError:
            return f"error: {name} does not take these arguments"
        except (BadCall, BadChange) as error:
            return f"error: {error}"

    def _list(self) -> str:
        return "\n".join(sorted(self.files))

    def _read(self, path: str) -> str:
        return "\n".join(f"{n}\t{line}" for n, line in enumerate(self.text(path).splitlines(), 1))

    def _search(self, text: str) -> str:
        if not text:
            raise BadCall("search: an empty text is everywhere")
        found = [
            f"{path}:{number}: {line.strip()[:200]}"
            for path in sorted(self.files)
            for number, line in enumerate(self.files[path].splitlines(), 1)
            if text in line
        ]
        return "\n".join(found) or "nothing found"

    def _write(self, path: str, content: str) -> str:
        return self._change(path, content)

    def _edit(self, path: str, old: str, new: str) -> str:
        text = self.text(path)
        count = text.count(old) if old else 0
        if count != 1:
            raise BadCall(f"{path}: the text stands there {count} times, not once")
        return self._change(path, text.replace(old, new))

    def _delete(self, path: str) -> str:
        self.text(path)
        return self._change(path, None)

    def text(self, path: str) -> str:
        """A file's content.

        Raises:
            BadCall: There is no such file.
        """
        if path not in self.files:
            raise BadCall(f"there is no file {path[:200]!r}")
        return self.files[path]

    def _change(self, path: str, content: str | None) -> str:
        if is_under(path, self._read_only):
            raise BadCall(f"{path} must not be changed")
        change = changes_in([{"path": path, "content": content}])
        self.files = changed(self.files, change, (), most=self.most_files)
        return f"{path} deleted" if content is None else f"{path} written, {len(content.splitlines())} lines"


class RepositoryWorkspace(Workspace):
    """A workspace with the repository's own tests to run."""

    def __init__(self, check: RepositoryCheck, sandbox: Sandbox) -> None:
        super().__init__(check.files, check.read_only)
        self._sandbox = sandbox
        self._slow["run_tests"] = self._run_tests

    async def _run_tests(self) -> str:
        python = LANGUAGES["python"]
        files = {path: text.encode("utf-8", "replace") for path, text in self.files.items()}
        program = replace(Program.of(python, ""), files=files, run=RUN)

        async def attempt() -> Execution:
            return await Programs(self._sandbox).run(program, b"", RUN_LIMITS, capture_stdout=RUN_OUTPUT)

        try:
            ending = (await judged(self._sandbox, attempt)).ending
        except LostTwice:
            return "the tests took the machine down"
        over = breach(ending)
        said = ending.stdout.decode("utf-8", "replace")
        return f"{said}\n{over[1]}" if over is not None else said or f"nothing printed, exit status {ending.status}"


def _calls(turn: ModelTurn) -> list[tuple[str, Any]]:
    """The turn's calls, structured or in `<tool_call>` blocks."""
    if turn.tool_calls:
        return [(str(call.get("name", "")), call.get("arguments")) for call in turn.tool_calls]
    if "<tool_call>" not in turn.text:
        return []
    return [(call.name, call.arguments) for call in calls_in(turn.text)]


def _clipped(text: str, *, end: bool = False) -> str:
    if len(text) <= LONGEST_RESULT:
        return text
    left = len(text) - LONGEST_RESULT
    return (
        f"({left} characters left out)\n{text[-LONGEST_RESULT:]}"
        if end
        else (f"{text[:LONGEST_RESULT]}\n({left} characters left out)")
    )


def as_calls(changes: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The calls that make changes."""
    return tuple(
        {"name": "delete_file", "arguments": {"path": change["path"]}}
        if change["content"] is None
        else {"name": "write_file", "arguments": {"path": change["path"], "content": change["content"]}}
        for change in changes
    )


def described(tools: Iterable[Mapping[str, Any]]) -> str:
    """The tools, for models that are not offered any by their template."""
    return "\n".join(json.dumps(offered["function"]) for offered in tools)
