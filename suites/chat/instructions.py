"""Prompts with instructions that a program can check, as IFEval's file form has them."""

from __future__ import annotations

from collections.abc import Sequence

from sandboxes.check import InstructionsCheck
from suites.problem import Problem
from suites.sources import DataSource, read_jsonl


def instruction_problems(source: DataSource, name: str) -> Sequence[Problem]:
    """A problem a row; ids are the suite's name and the data set's keys."""
    return [
        Problem(
            id=f"{name}/{row['key']}",
            ask=row["prompt"],
            check=InstructionsCheck(
                kind="instructions",
                prompt=row["prompt"],
                instruction_id_list=row["instruction_id_list"],
                kwargs=row["kwargs"],
            ),
            metadata={"instructions": row["instruction_id_list"]},
        )
        for row in read_jsonl(source)
    ]
