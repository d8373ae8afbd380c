"""BigCodeBench v0.1.4 (Zhuo et al. 2024): 1,140 functions that use libraries, judged by unittest test cases.

`:complete` asks for a function from its head and docstring, `:instruct` by a task in words; `:hard` and
`:hard_instruct` are the 148 of the Hard subset. Without a variant it is `:complete`, the reference's default split.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sandboxes.check import Limits, UnittestCheck
from sandboxes.choose import IMAGE_VARIABLE
from sandboxes.images.libraries import image_of
from sandboxes.sandbox import Sandbox
from sandboxes.splitting import candidate_names
from sandboxes.test_cases import parsed
from suites.code.bigcodebench_known import BESIDE, WRONG_GOLD
from suites.code.libraries import require_libraries
from suites.code.program import program_of
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource, github, read_json, read_jsonl
from suites.suite import Suite

FULL = DataSource(
    file="bigcodebench/BigCodeBench.jsonl.gz",
    sha256="58142744edaf6036387f8761701f1b353432b0ed33f2edec1de8a59e7431ef7a",
    content_sha256="33baf4f414eb34507f1a8fd55ef9bcd79c1f9b4c3e8e2544f023edac1b20afec",
    licence="Apache-2.0",
    origin=github(
        "bigcode-project/bigcodebench-annotation",
        "a3b89850db670d7302571142b881e4f85eef18e3",
        "hf_data/BigCodeBench.jsonl.gz",
    ),
)
HARD = DataSource(
    file="bigcodebench/bigcodebench_hard.json.gz",
    sha256="649813ff106b23bcfb3006a384a0f702004eb4622b7a0c89a01188cefe2c549f",
    content_sha256="5e7a87ff1085eafb13b2d570277bcb53dba68201717b4fc987a3f2b86a23869c",
    licence="Apache-2.0",
    origin=github(
        "QwenLM/Qwen2.5-Coder",
        "d5ead97fea36bca3744e1a4c49e882f6fa2f406a",
        "qwencoder-eval/instruct/BigCodeBench/data/bigcodebench_hard.json",
    ),
)

STOPS = ("\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ", "\nif __name__", "\nprint(", "\n```")
LIMITS = Limits(cpu_s=60, wall_s=360, memory_mb=4096)
"""The reference gives a task at least 240 s of wall time and 30 GiB; tensorflow alone takes seconds and a gigabyte."""
PACKAGED = {"turtle": "_tkinter"}
"""Modules of the standard library that distributions put into packages of their own, and what is missing without."""
_ASK = "Please provide a self-contained Python script that solves the following problem in a markdown code block:"


class BigCodeBench(Suite):
    """The score is the fraction of tasks with all tests passed, on programs with the task's own imports put before."""

    name = "bigcodebench"
    category = "code"
    version = "3"  # 2: programs have the imports of their tests; 3: five tasks are judged beside theirs
    summary = "1,140 Python functions that use libraries, judged by their unittest test cases"
    sources = (FULL, HARD)
    variants = ("complete", "instruct", "hard", "hard_instruct")
    metric = "pass@1"
    sampling = Sampling(max_tokens=1280)  # as the reference
    wrong_gold = WRONG_GOLD

    @property
    def _in_words(self) -> bool:
        return self.variant in ("instruct", "hard_instruct")

    def data(self) -> tuple[DataSource, ...]:
        """One file a set."""
        return (HARD if (self.variant or "").startswith("hard") else FULL,)

    def problems(self) -> Sequence[Problem]:
        """Ids are the data set's; the tests get the imports that they take from the task's own head."""
        (source,) = self.data()
        rows: Iterable[dict[str, Any]] = read_json(source).values() if source is HARD else read_jsonl(source)
        return [self._problem(row) for row in rows]

    async def prepare(self, sandbox: Sandbox, *, wanted: Collection[str] | None = None) -> Sequence[Problem]:
        """The problems, where the libraries are.

        Raises:
            SandboxUnavailable: They are not in this sandbox; names the image and the commands.
        """
        problems = self.problems()
        asked = [p for p in problems if wanted is None or p.id in wanted]
        libraries = {lib for p in asked for lib in (*p.metadata["libs"], *_imported(p.metadata["test"]))}
        libraries = libraries - sys.stdlib_module_names | {PACKAGED[lib] for lib in libraries & PACKAGED.keys()}
        image = image_of("bigcodebench")
        await require_libraries(
            sandbox,
            sorted(libraries),
            "BigCodeBench",
            f"build the image {image} that has: `mellum-eval sandbox build --libraries bigcodebench`, "
            f"and name it: `export {IMAGE_VARIABLE}={image}`",
        )
        return problems

    def _problem(self, row: dict[str, Any]) -> Problem:
        solution = row["complete_prompt"] + row["canonical_solution"]
        return Problem(
            id=row["task_id"],
            ask=row["instruct_prompt"] if self._in_words else row["complete_prompt"],
            check=UnittestCheck(
                kind="unittest",
                test=with_imports(f"{row['code_prompt'].rstrip()}\n    pass\n", row["test"]),
                beside=row["task_id"] in BESIDE,
                limits=LIMITS,
            ),
            gold=f"```python\n{solution.strip()}\n```",
            metadata={
                "entry_point": row["entry_point"],
                "code_prompt": row["code_prompt"],
                "libs": ast.literal_eval(row["libs"]),
                "test": row["test"],
            },
        )

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """The reference's prompts: a request for a script, or the head to be continued."""
        if not chat and not self._in_words:
            return Prompt(text=problem.ask.rstrip() + "\n", stop=STOPS)
        ask = problem.ask if self._in_words else f"```\n{problem.ask.strip()}\n```"
        text = f"{_ASK}\n{ask.strip()}\n"
        return Prompt(messages=(Message("user", text),)) if chat else Prompt(text=text, stop=("\n```\n",))

    def answer(self, problem: Problem, text: str, tool_calls: Sequence[dict[str, Any]] = ()) -> str:
        """The program after the task's head, as in the reference's calibrated score: no task fails for an import.

        Nor for an import that stands in the tests: 20 canonical solutions use one.
        """
        head = str(problem.metadata["code_prompt"])
        prompt = None if self._in_words else problem.ask
        program = program_of(text, str(problem.metadata["entry_point"]), prompt)
        if not program:
            return ""
        whole = f"{head}\n    pass\n{program}"
        return with_imports(str(problem.metadata["test"]), whole) if _is_python(whole) else whole


def _imported(source: str) -> set[str]:
    """The modules that a source imports at its top level: tests use libraries that their tasks do not name."""
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def with_imports(other: str, source: str) -> str:
    """A source with those top-level imports of another put before it that it uses without importing.

    In the reference program and tests are one module. Here a name that the tests do not bind would be the candidate's,
    and one that the candidate does not bind nobody's.
    """
    missing = candidate_names(source)
    lines = []
    for node in ast.parse(other).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            node.names = [a for a in node.names if (a.asname or a.name.split(".")[0]) in missing]
            if node.names:
                lines.append(ast.unparse(node))
    return "\n".join([*lines, source])


def _is_python(source: str) -> bool:
    try:
        parsed(source)
    except ValueError:
        return False
    return True
