"""MBPP+ v0.2.0: 378 tasks of MBPP that EvalPlus kept, with its inputs and its exceptions.

The data is JSON, so tuples, sets and complex numbers are written as lists and strings; `SHAPES` says, task by task,
what the functions really take (facts of EvalPlus 0.3.1, tests/parity holds them to it). `:base` asks MBPP's own
inputs, `:noextreme` EvalPlus's smaller set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from sandboxes.check import Comparison
from suites.code.evalplus import EvalPlusSuite, Task, not_none
from suites.problem import Message, Problem, Prompt
from suites.sources import DataSource, github, read_jsonl

_RELEASE = ("evalplus/mbppplus_release", "64fc4195b858a17cdfdb3324f0baf37939144e14")
FULL = DataSource(
    file="mbpp_plus/MbppPlus.jsonl.gz",
    sha256="af43697e8791c4c149bdfd6b489d8b5412507551ac20e28a439f650b8225db63",
    content_sha256="b54e762755248ca411b523c917fa9f93c07b5ff2966bf60b3917b853926a3dad",
    licence="Apache-2.0",
    origin=github(*_RELEASE, "MbppPlus.jsonl.gz"),
)
NO_EXTREME = DataSource(
    file="mbpp_plus/MbppPlus-NoExtreme.jsonl.gz",
    sha256="72d32acaea73d5606cb97041b30d45bbda9435a675369d3e31965513ee94e564",
    content_sha256="2682a29850fb17185106b2f40e72d1ebe7091b7393c576cff71b60e83c42ed33",
    licence="Apache-2.0",
    origin=github(*_RELEASE, "MbppPlus-NoExtreme.jsonl.gz"),
)

STOPS = ('\n"""', "\nassert", "\nif __name__", "\nprint(", "\n```")

Shape = Callable[[list[Any]], list[Any]]


def _as_it_is(arguments: list[Any]) -> list[Any]:
    return arguments


def _tuples(rows: list[Any]) -> list[Any]:
    return [tuple(row) for row in rows]


def _deep(value: Any) -> Any:
    return tuple(_deep(item) for item in value) if isinstance(value, list) else value


def _sets(arguments: list[Any]) -> list[Any]:
    # An empty list stands for {}, which is a dict: the original tests wrote it so.
    return [[set(item) if isinstance(item, list) and item else {} for item in arguments[0]]]


_SHAPES: tuple[tuple[str, Shape], ...] = (
    ("2 116 132 143 222 261 273 394 399 421 424 429 470 560 579 596 616 630 726 740 744 809", _tuples),
    ("63 64 70 94 120 237 272 299 400 409 417 438 473 614 780", lambda args: [_tuples(rows) for rows in args]),
    ("75 413 444 753", lambda args: [_tuples(args[0]), args[1]]),
    ("106 750", lambda args: [args[0], tuple(args[1])]),
    ("115", _sets),
    ("124", lambda args: [float(args[0]), complex(args[1])]),
    ("250 405 446 617 720 763 808", lambda args: [tuple(args[0]), args[1]]),
    ("259 401 445", lambda args: [tuple(_tuples(rows)) for rows in args]),
    ("278", lambda args: [tuple(tuple(item) if isinstance(item, list) else item for item in args[0])]),
    ("307", lambda args: [tuple(args[0]), args[1], args[2]]),
    ("722", lambda args: [{name: tuple(values) for name, values in args[0].items()}, *args[1:]]),
    ("252", lambda args: [complex(args[0])]),
    ("580 615 791", lambda args: [_deep(item) for item in args]),
)
SHAPES = {f"Mbpp/{number}": shape for numbers, shape in _SHAPES for number in numbers.split()}
"""Task → arguments as JSON has them to arguments as the function takes them."""

AS_SETS = frozenset(
    {
        "similar_elements",
        "find_char_long",
        "common_in_nested_lists",
        "extract_singly",
        "larg_nnum",
        "intersection_array",
        "find_dissimilar",
        "Diff",
    }
)
"""Functions whose order of results is not asked."""
NOT_NONE = frozenset({"check_str", "text_match_three", "text_starta_endb"})
"""Functions that return a match or None: only which of the two is asked."""


def _pyramid(base: float, height: float) -> int:
    """Mbpp/581 with `height` read as the height of the pyramid, not of its faces."""
    return round(base**2 + 2 * base * math.sqrt((base / 2) ** 2 + height**2))


def _digit_distance(first: int, second: int) -> int:
    """Mbpp/558 with the shorter number padded by zeros."""
    width = max(len(str(first)), len(str(second)))
    return sum(abs(int(a) - int(b)) for a, b in zip(str(first).zfill(width), str(second).zfill(width), strict=True))


SECOND_READINGS: dict[str, Callable[..., Any]] = {"surface_Area": _pyramid, "digit_distance_nums": _digit_distance}


SLOW = {
    "Mbpp/599": 240.0,
    "Mbpp/392": 60.0,
    "Mbpp/271": 60.0,
    "Mbpp/603": 60.0,
    "Mbpp/123": 60.0,
    "Mbpp/255": 60.0,
    "Mbpp/592": 60.0,
}
"""CPU seconds for tasks whose canonical solution alone takes more than two (the first: thirty)."""


class MbppPlus(EvalPlusSuite):
    """All 378 tasks."""

    name = "mbpp_plus"
    version = "1"
    summary = "378 short Python tasks, EvalPlus's base and plus tests"
    sources = (FULL, NO_EXTREME)
    variants = ("base", "noextreme")
    prompt_is_code = False

    def data(self) -> tuple[DataSource, ...]:
        """One file a variant; the base inputs are in the full one."""
        return (NO_EXTREME if self.variant == "noextreme" else FULL,)

    def tasks(self) -> Iterator[Task]:
        """Rows with their inputs brought into shape."""
        (source,) = self.data()
        for row in read_jsonl(source):
            shape = SHAPES.get(row["task_id"], _as_it_is)
            name = row["entry_point"]
            compare: Comparison = "set" if name in AS_SETS else "allclose"
            task = Task(
                id=row["task_id"],
                ask=row["prompt"],
                entry_point=name,
                solution=row["canonical_solution"],
                base=[shape(arguments) for arguments in row["base_input"]],
                plus=[shape(arguments) for arguments in row["plus_input"]],
                atol=row["atol"],
                cpu_s=SLOW.get(row["task_id"], 10.0),
                compare=compare,
                second_reading=SECOND_READINGS.get(name),
            )
            yield not_none(task) if name in NOT_NONE else task

    def gold(self, task: Task) -> str:
        """The canonical function in a block."""
        return f"```python\n{task.solution.strip()}\n```"

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """The task's docstring, with its example: to be solved in a block, or continued."""
        if chat:
            task = problem.ask.strip().removeprefix('"""').removesuffix('"""').strip()
            ask = f"Solve this task in Python. Reply with one Python code block that stands on its own.\n\n{task}"
            return Prompt(messages=(Message("user", ask),))
        return Prompt(text=problem.ask.rstrip() + "\n", stop=STOPS)
