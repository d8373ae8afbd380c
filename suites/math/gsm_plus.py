r"""GSM-Plus (Li et al. 2024): each GSM8K test problem in eight perturbed forms, 10,552 in all.

One form takes away a quantity that the question needs: its right answer is that there is none, which the prompt says
how to give. Forms of one GSM8K problem share a cluster. Base models continue GSM8K's eight worked examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sandboxes.check import Check, ExactCheck, MathCheck
from suites.math.gsm8k import TRAIN, worked_examples
from suites.problem import Message, Problem, Prompt
from suites.sources import DataSource, read_jsonl
from suites.suite import Suite

TEST = DataSource(
    file="gsm_plus/test.jsonl",
    sha256="885c279bfa9cde767ea23f79fd462d566fa0dbf6af9f2dcf30c75aa94f3d4041",
    licence="CC-BY-SA-4.0",
    origin="hf:qintongli/GSM-Plus@3b708db57b96a16e8e3368ed2956990c0809440e/data/test-00000-of-00001.jsonl",
)
NONE = "None"


class GsmPlus(Suite):
    """All perturbations, or (`:answerable`) those that have an answer."""

    name = "gsm_plus"
    category = "math"
    version = "1"
    summary = "10,552 perturbed GSM8K problems, eight forms of each"
    sources = (TEST, TRAIN)
    variants = ("answerable",)

    def problems(self) -> Sequence[Problem]:
        """Ids are row numbers, the data set has none."""
        problems = [problem_of(number, row) for number, row in enumerate(read_jsonl(TEST))]
        return [p for p in problems if p.metadata["answerable"]] if self.variant == "answerable" else problems

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """Zero-shot for chat, GSM8K's fixed shots for base models."""
        if chat:
            how = f"put the final number in \\boxed{{}}, or \\boxed{{{NONE}}} where the question lacks what is needed."
            return Prompt(messages=(Message("user", f"{problem.ask}\n\nReason step by step, then {how}"),))
        return Prompt(text=f"{worked_examples()}Question: {problem.ask}\nAnswer:", stop=("\nQuestion:", "\n\n\n"))


def problem_of(number: int, row: dict[str, Any]) -> Problem:
    """The problem of one row."""
    answer = str(row["answer"]).strip().replace(",", "")
    answerable = answer.casefold() != NONE.casefold()
    check: Check = ExactCheck(kind="exact", answer=NONE, normalise="casefold")
    if answerable:
        check = MathCheck(kind="math", answer=answer)
    return Problem(
        id=f"gsm_plus/{number}",
        ask=str(row["question"]).strip(),
        check=check,
        gold=f"The answer is $\\boxed{{{answer if answerable else NONE}}}$.",
        cluster=str(row["seed_question"]),
        metadata={"perturbation": row["perturbation_type"], "answerable": answerable},
    )
