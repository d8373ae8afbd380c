"""HumanEval+ v0.1.10: OpenAI's 164 functions with EvalPlus's inputs.

`:base` asks only the original inputs, `:mini` and `:noextreme` are EvalPlus's smaller sets. In all of them
`parts["base"]` is HumanEval itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from suites.code.evalplus import EvalPlusSuite, Task
from suites.problem import Message, Problem, Prompt
from suites.sources import DataSource, github, read_jsonl

_RELEASE = ("evalplus/humanevalplus_release", "200defce9e3429d28ca215b6dd061c0f7f31c18b")
FULL = DataSource(
    file="humaneval_plus/HumanEvalPlus.jsonl.gz",
    sha256="272720b90ac375502c8ed23cd791c2a93dfb22a911641a494da74a426c09f101",
    content_sha256="42526ec0e7d5f3ee0b06d6ced98f8c8bae3d76519151bfb3d36f79010645bd7f",
    licence="Apache-2.0",
    origin=github(*_RELEASE, "HumanEvalPlus.jsonl.gz"),
)
MINI = DataSource(
    file="humaneval_plus/HumanEvalPlus-Mini.jsonl.gz",
    sha256="91486741f1627101021fbe50523df08eebb5b0bf5e804b633dcd5ca3c14dbd2f",
    content_sha256="78fbba8865b20c5a979cda6e02fd72538e1762e65980af7d1a6e93c3e87e93af",
    licence="Apache-2.0",
    origin=github(*_RELEASE, "HumanEvalPlus-Mini.jsonl.gz"),
)
NO_EXTREME = DataSource(
    file="humaneval_plus/HumanEvalPlus-NoExtreme.jsonl.gz",
    sha256="298f79977b2663b8b8ab6b5fa50b17d6f23a92603d24f39e26203fe58c37eeda",
    content_sha256="3c5aa88735e442f327030f7097f9443ee173419e0db2a75b1c12730415398e88",
    licence="Apache-2.0",
    origin=github(*_RELEASE, "HumanEvalPlus-NoExtreme.jsonl.gz"),
)

STOPS = ("\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ", "\nif __name__", "\nprint(", "\n```")


SLOW = {"HumanEval/15": 60.0, "HumanEval/139": 60.0}
"""CPU seconds for tasks whose canonical solution alone takes more than two."""


class HumanEvalPlus(EvalPlusSuite):
    """All 164 functions."""

    name = "humaneval_plus"
    version = "1"
    summary = "164 Python functions from docstrings, EvalPlus's base and plus tests"
    sources = (FULL, MINI, NO_EXTREME)
    variants = ("base", "mini", "noextreme")
    prompt_is_code = True

    def data(self) -> tuple[DataSource, ...]:
        """One file a variant; the base inputs are in the full one."""
        return ({"mini": MINI, "noextreme": NO_EXTREME}.get(self.variant or "", FULL),)

    def tasks(self) -> Iterator[Task]:
        """Rows as they are: JSON holds these inputs."""
        (source,) = self.data()
        for row in read_jsonl(source):
            yield Task(
                id=row["task_id"],
                ask=row["prompt"],
                entry_point=row["entry_point"],
                solution=row["prompt"] + row["canonical_solution"],
                base=row["base_input"],
                plus=row["plus_input"],
                atol=row["atol"],
                cpu_s=SLOW.get(row["task_id"], 10.0),
                # The solution is any root of the polynomial, not the one that Newton's method happens to find.
                compare="root" if row["entry_point"] == "find_zero" else "allclose",
            )

    def gold(self, task: Task) -> str:
        """The whole function in a block."""
        return f"```python\n{task.solution.strip()}\n```"

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """The function's head: to be completed in a block, or continued."""
        if chat:
            ask = (
                "Complete this Python function. Reply with one Python code block that holds the whole function and "
                f"the imports and helpers it needs.\n\n```python\n{problem.ask.strip()}\n```"
            )
            return Prompt(messages=(Message("user", ask),))
        return Prompt(text=problem.ask.rstrip() + "\n", stop=STOPS)
