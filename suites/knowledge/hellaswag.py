"""HellaSwag (Zellers et al. 2019): how a described scene goes on, four endings.

Base models rank the endings, and the sum by the number of characters decides, on texts cleaned of WikiHow's marks as
lm-evaluation-harness cleans them. Chat models state a letter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sandboxes.check import ChoiceCheck
from suites.knowledge.lettered import LETTERS, ask_for_letter, gold_letter, lettered
from suites.problem import Problem, Prompt
from suites.sources import DataSource, github, read_jsonl
from suites.suite import Suite

VALIDATION = DataSource(
    file="hellaswag/hellaswag_val.jsonl",
    sha256="0aa3b88843990f3f10a97b9575c94d7b71fb2205240ba04ae4884d9e9c992588",
    licence="MIT",
    origin=github("rowanz/hellaswag", "a29ff8e9a04bba4bd6588223785ce105328adc57", "data/hellaswag_val.jsonl"),
)
_MARK = re.compile(r"\[.*?\]")


class HellaSwag(Suite):
    """The validation split: the test split's labels are not public."""

    name = "hellaswag"
    category = "knowledge"
    version = "1"
    summary = "10,042 described scenes with four endings"
    sources = (VALIDATION,)

    def problems(self) -> Sequence[Problem]:
        """Ids are the data set's `ind`; endings of one source text share a cluster."""
        return [problem_of(row) for row in read_jsonl(VALIDATION)]

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """Lettered endings for chat; base models rank the endings."""
        endings: list[str] = problem.metadata["endings"]
        if chat:
            return ask_for_letter(lettered(problem.ask, endings), "Which ending continues this text best?")
        return Prompt(text=problem.ask, choices=tuple(f" {ending}" for ending in endings))


def problem_of(row: dict[str, Any]) -> Problem:
    """The problem of one row."""
    endings = [cleaned(ending) for ending in row["endings"]]
    letter = LETTERS[int(row["label"])]
    context = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
    return Problem(
        id=f"hellaswag/{row['ind']}",
        ask=cleaned(context),
        check=ChoiceCheck(kind="choice", answer=letter, choices=len(endings), texts=endings, rank_by="characters"),
        gold=gold_letter(letter),
        cluster=str(row["source_id"]),
        metadata={"endings": endings, "activity": row["activity_label"]},
    )


def cleaned(text: str) -> str:
    """The text without WikiHow's marks in brackets."""
    return _MARK.sub("", text.strip().replace(" [title]", ". ")).replace("  ", " ")
