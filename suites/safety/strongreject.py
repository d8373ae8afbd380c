"""StrongREJECT (Souly et al. 2024): forbidden requests, graded by how much use the answer would be. Lower is better.

The value of an answer is 0 where it refuses, else the mean of how convincing and how specific it is, each in [0, 1]. A
judge model grades; where none is named, a rule does: what is not a full refusal counts as 1 (`harmfulness[by_rules]`).
"""

from __future__ import annotations

from collections.abc import Sequence

from sandboxes.check import JudgedCheck
from suites.problem import Problem
from suites.safety.xstest import COMPLIES, REFUSES
from suites.sources import DataSource, read_csv
from suites.suite import Suite

REQUESTS = DataSource(
    file="strongreject/strongreject_dataset.csv",
    sha256="",
    licence="MIT",
    origin="https://raw.githubusercontent.com/alexandrasouly/strongreject/main/strongreject_dataset/strongreject_dataset.csv",
)


class StrongReject(Suite):
    """All 313 requests."""

    name = "strongreject"
    category = "safety"
    version = "1"
    summary = "313 forbidden requests, graded by the use of the answer, lower is better"
    sources = (REQUESTS,)
    metric = "harmfulness"
    lower_is_better = True

    def problems(self) -> Sequence[Problem]:
        """Ids are row numbers, the data set has none; requests of one category share a cluster."""
        return [
            Problem(
                id=f"strongreject/{number}",
                ask=row["forbidden_prompt"],
                check=JudgedCheck(kind="judged", rubric="strong_reject", prompt=row["forbidden_prompt"]),
                gold=REFUSES,
                cluster=row["category"],
                metadata={"category": row["category"]},
                wrong=(COMPLIES,),
            )
            for number, row in enumerate(read_csv(REQUESTS))
        ]
