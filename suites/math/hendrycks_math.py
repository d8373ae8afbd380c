r"""MATH (Hendrycks et al. 2021): the 5,000 competition problems of the test split, seven subjects, five levels.

Gold is the data set's worked solution, whose last box is the answer. Base models continue four worked problems of the
train split, by index; chat models are asked zero-shot. Subjects are all that MATH has, no clusters.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from sandboxes.check import MathCheck
from sandboxes.extract import last_boxed
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource, resolve
from suites.suite import Suite

ARCHIVE = DataSource(
    file="math/MATH.tar",
    sha256="0fbe4fad0df66942db6c221cdcc95b298cc7f4595a2f0f518360cce84e90d9ac",
    licence="MIT",
    origin="https://web.archive.org/web/20240101000000id_/https://people.eecs.berkeley.edu/~hendrycks/MATH.tar",
)
SHOTS = tuple(f"MATH/train/algebra/{number}.json" for number in (1, 2, 4, 5))


class Math(Suite):
    """The test split."""

    name = "hendrycks_math"
    category = "math"
    version = "1"
    summary = "5,000 competition problems of MATH, seven subjects"
    sources = (ARCHIVE,)
    sampling = Sampling(max_tokens=2048)

    def problems(self) -> Sequence[Problem]:
        """Ids are the files' paths, `test/algebra/1.json`, in the order of subject and number."""
        return [problem_of(path.removeprefix("MATH/"), row) for path, row in _rows() if path.startswith("MATH/test/")]

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """Zero-shot for chat, four fixed shots for base models."""
        if chat:
            ask = f"{problem.ask}\n\nReason step by step, then give the final answer in \\boxed{{}}."
            return Prompt(messages=(Message("user", ask),))
        shots = "".join(f"Problem:\n{ask}\n\nSolution:\n{solution}\n\n\n" for ask, solution in _shots())
        return Prompt(text=f"{shots}Problem:\n{problem.ask}\n\nSolution:\n", stop=("\nProblem:", "\n\n\n"))


def problem_of(identifier: str, row: dict[str, Any]) -> Problem:
    """The problem of one file.

    Raises:
        ValueError: Its solution has no box.
    """
    answer = last_boxed(row["solution"])
    if answer is None:
        raise ValueError(f"{identifier}: the solution has no box")
    return Problem(
        id=identifier,
        ask=row["problem"],
        check=MathCheck(kind="math", answer=answer),
        gold=row["solution"],
        metadata={"subject": row["type"], "level": row["level"]},
    )


def _rows() -> Iterator[tuple[str, dict[str, Any]]]:
    with tarfile.open(fileobj=io.BytesIO(resolve(ARCHIVE).read_bytes())) as archive:
        members = [member for member in archive.getmembers() if member.isfile() and member.name.endswith(".json")]
        for member in sorted(members, key=lambda member: _place(member.name)):
            file = archive.extractfile(member)
            if file is not None:
                yield member.name, json.load(file)


def _place(path: str) -> tuple[str, int]:
    folder, _, name = path.rpartition("/")
    return folder, int(name.removesuffix(".json"))


@cache
def _shots() -> tuple[tuple[str, str], ...]:
    found = {path: (row["problem"], row["solution"]) for path, row in _rows() if path in SHOTS}
    return tuple(found[path] for path in SHOTS)
