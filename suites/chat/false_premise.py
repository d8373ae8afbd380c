"""False premises (the public "bullshit benchmark", P. Gostev): questions whose premise makes no sense.

The score is the share of answers that say so clearly, as a judge model sees it, which also gets the data set's note on
what is wrong; hedging while answering is no detection. There is no rule that could stand in for the judge. The file's
second list, plausible control questions, is left out: it measures something else.
"""

from __future__ import annotations

from collections.abc import Sequence

from sandboxes.check import JudgedCheck
from suites.problem import Problem
from suites.sources import DataSource, github, read_json
from suites.suite import Suite

QUESTIONS = DataSource(
    file="false_premise/questions.json",
    sha256="",
    licence="MIT",
    origin=github("petergpt/bullshit-benchmark", "bcfb50230ea4e2f2c4861062f6483c50f39c49ad", "questions.json"),
)


class FalsePremise(Suite):
    """All questions that have no sense."""

    name = "false_premise"
    category = "chat"
    version = "1"
    summary = "questions whose premise makes no sense; the share of answers that say so (needs a judge)"
    sources = (QUESTIONS,)
    metric = "detection_rate"
    has_gold = False
    needs_judge = True

    def problems(self) -> Sequence[Problem]:
        """Ids are the data set's own; questions of one technique share a cluster."""
        return [
            Problem(
                id=f"false_premise/{row['id']}",
                ask=row["question"],
                check=JudgedCheck(
                    kind="judged",
                    rubric="false_premise",
                    prompt=row["question"],
                    reference=row["nonsensical_element"],
                ),
                cluster=technique["technique"],
                metadata={"technique": technique["technique"], "domain": row["domain"]},
            )
            for technique in read_json(QUESTIONS)["techniques"]
            for row in technique["questions"]
        ]
