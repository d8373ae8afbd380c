r"""MATH-500: the 500 test problems of MATH that PRM800K (Lightman et al. 2023) set aside.

Gold is the data set's worked solution, which ends in a box. Subjects are no clusters: the seven are all that MATH has,
not a draw of subjects, and its problems stand alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from sandboxes.check import MathCheck
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource, github, read_jsonl
from suites.suite import Suite

TEST = DataSource(
    file="math500/test.jsonl",
    sha256="35dc41080a3680858b27fa7e0533d2d547825316fc5dafe5d316f4ccc5a06132",
    licence="MIT",
    origin=github(
        "Zhuofeng-Li/math-evaluation-harness", "1b9885d817962a8494728376625ce6605772edbd", "data/math500/test.jsonl"
    ),
)


class Math500(Suite):
    """All 500 problems, in the file's order."""

    name = "math500"
    category = "math"
    version = "1"
    summary = "500 competition problems of MATH, seven subjects"
    sources = (TEST,)
    sampling = Sampling(max_tokens=2048)

    def problems(self) -> Sequence[Problem]:
        """Ids are the data set's own."""
        return [
            Problem(
                id=row["unique_id"],
                ask=row["problem"],
                check=MathCheck(kind="math", answer=row["answer"]),
                gold=row["solution"],
                metadata={"subject": row["subject"], "level": row["level"]},
            )
            for row in read_jsonl(TEST)
        ]

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """Zero-shot in both forms."""
        if chat:
            ask = f"{problem.ask}\n\nReason step by step, then give the final answer in \\boxed{{}}."
            return Prompt(messages=(Message("user", ask),))
        text = f"Problem:\n{problem.ask}\n\nSolution (the final answer stands in \\boxed{{}}):\n"
        return Prompt(text=text, stop=("\nProblem:",))
