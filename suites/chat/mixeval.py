"""MixEval (Ni et al. 2024): questions of many benchmarks, mixed as users of the web ask them; release 2024-08-11.

Free-form answers are held to the accepted ones by a judge model, as the reference does; where none is named, by a rule:
an accepted answer must stand in the answer, word for word (`accuracy[by_rules]` tells the share). Multiple-choice
questions are answered by a letter, which needs neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sandboxes.check import ChoiceCheck, JudgedCheck
from suites.problem import Problem
from suites.sources import DataSource, github, read_json
from suites.suite import Suite

_COMMITS = {
    ("mixeval", "free-form"): "2bcaccdcee03c12fb2c32cee1272274eaf9339e6",
    ("mixeval", "multiple-choice"): "6dffb0edaad0fb4f7fba14d97b0c542c0e1b8edf",
    ("mixeval-hard", "free-form"): "f6b7cf8921741cb22f0e463338ae7f0c44b7be11",
    ("mixeval-hard", "multiple-choice"): "f6b7cf8921741cb22f0e463338ae7f0c44b7be11",
}


def _file(level: str, form: str) -> DataSource:
    path = f"mix_eval/data/mixeval-2024-08-11/{level}/{form}.json"
    return DataSource(
        file=f"mixeval/2024-08-11/{level}/{form}.json",
        sha256="",
        licence="Apache-2.0",
        origin=github("Psycoy/MixEval", _COMMITS[level, form], path),
    )


FILES = {level: (_file(level, "free-form"), _file(level, "multiple-choice")) for level in ("mixeval", "mixeval-hard")}


class MixEval(Suite):
    """The whole mixture, or its hard quarter (`:hard`)."""

    name = "mixeval"
    category = "chat"
    version = "1"
    summary = "a mixture of benchmarks' questions as the web asks them, or its hard part"
    sources = (*FILES["mixeval"], *FILES["mixeval-hard"])
    variants = ("hard",)

    def data(self) -> tuple[DataSource, ...]:
        """Free-form and multiple-choice questions."""
        return FILES["mixeval-hard" if self.variant == "hard" else "mixeval"]

    def problems(self) -> Sequence[Problem]:
        """Ids are form and number in the release; questions of one benchmark share a cluster."""
        free, choice = self.data()
        problems = [_free(number, row) for number, row in read_json(free).items()]
        return problems + [_choice(number, row) for number, row in read_json(choice).items()]


def _free(number: str, row: Mapping[str, Any]) -> Problem:
    ask = _asked(row)
    accepted = [str(target) for target in row["target"]]
    return Problem(
        id=f"mixeval/free-form/{number}",
        ask=f"{ask}\n\nAnswer in a few words.",
        check=JudgedCheck(kind="judged", rubric="same_answer", prompt=ask, reference="\n".join(accepted)),
        gold=accepted[0],
        cluster=row["benchmark_name"],
        metadata={"benchmark": row["benchmark_name"]},
    )


def _choice(number: str, row: Mapping[str, Any]) -> Problem:
    letters = [chr(ord("A") + place) for place in range(len(row["options"]))]
    right = letters[int(row["target"][0])]
    options = "\n".join(f"{letter}. {option}" for letter, option in zip(letters, row["options"], strict=True))
    return Problem(
        id=f"mixeval/multiple-choice/{number}",
        ask=f"{_asked(row)}\n{options}\n\nAnswer with the letter of the right option only.",
        check=ChoiceCheck(kind="choice", answer=right, choices=len(letters)),
        gold=f"Answer: {right}",
        cluster=row["benchmark_name"],
        metadata={"benchmark": row["benchmark_name"]},
    )


def _asked(row: Mapping[str, Any]) -> str:
    return f"{row['context']}\n\n{row['prompt']}" if row.get("context") else str(row["prompt"])
