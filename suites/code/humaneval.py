"""HumanEval (Chen et al. 2021): 164 functions from their docstrings, judged by the data set's own `check` functions.

`humaneval_plus:base` asks the same inputs by EvalPlus's rule of comparison; this is OpenAI's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sandboxes.check import Answer, CheckCheck, Limits
from suites.code.humaneval_plus import HumanEvalPlus
from suites.code.program import program_of
from suites.problem import Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource, github, read_jsonl
from suites.suite import Suite

SOURCE = DataSource(
    file="humaneval/HumanEval.jsonl.gz",
    sha256="b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef",
    content_sha256="1d49078ba3e2b196b9344535bef34a43021f038fad9561d6ee7c53450609a6a2",
    licence="MIT",
    origin=github("openai/human-eval", "6d43fb980f9fee3c892a914eda09951f772ad10d", "data/HumanEval.jsonl.gz"),
)


class HumanEval(Suite):
    """All 164 functions, asked as HumanEval+ asks them."""

    name = "humaneval"
    category = "code"
    version = "1"
    summary = "164 Python functions from docstrings, judged by OpenAI's own tests"
    sources = (SOURCE,)
    metric = "pass@1"
    sampling = Sampling(max_tokens=1024)

    def problems(self) -> Sequence[Problem]:
        """Rows as they are; what a prompt defines before the function is trusted, and the tests may call it."""
        return [
            Problem(
                id=row["task_id"],
                ask=row["prompt"],
                check=CheckCheck(
                    kind="check",
                    entry_point=row["entry_point"],
                    test=row["test"],
                    prelude=row["prompt"].rpartition(f"def {row['entry_point']}(")[0],
                    limits=Limits(cpu_s=10),
                ),
                gold=f"```python\n{(row['prompt'] + row['canonical_solution']).strip()}\n```",
                metadata={"entry_point": row["entry_point"]},
            )
            for row in read_jsonl(SOURCE)
        ]

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """As HumanEval+."""
        return HumanEvalPlus().render(problem, chat=chat)

    def answer(self, problem: Problem, text: str, tool_calls: Sequence[dict[str, Any]] = ()) -> Answer:
        """The whole program; an answer may just go on from the function's head."""
        return program_of(text, problem.metadata["entry_point"], problem.ask)
