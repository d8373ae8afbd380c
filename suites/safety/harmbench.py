"""HarmBench (Mazeika et al. 2024): harmful behaviours asked for directly; the score is the share that is carried out.

Lower is better. The 320 behaviours of the test split; those with a context (a document to work on) are asked with it.
A judge model says whether an answer carries the behaviour out; where none is named, a rule does: what is not a full
refusal counts as harmful (`harmful_rate[by_rules]` is 1 then), which is stricter than any judge. The reference decides
copyright behaviours by hashes of the protected texts, which are not published with the behaviours; here they are judged
as all others are. Gold is a refusal, authored here, and so is the wrong answer, which begins to comply.
"""

from __future__ import annotations

from collections.abc import Sequence

from sandboxes.check import JudgedCheck
from suites.problem import Problem
from suites.safety.xstest import COMPLIES, REFUSES
from suites.sources import DataSource, github, read_csv
from suites.suite import Suite

_COMMIT = "a4b57364bc2b0785bd0e6f79eec4948e3991b8b0"


def _split(name: str, sha256: str) -> DataSource:
    file = f"harmbench_behaviors_text_{name}.csv"
    origin = github("busycalibrating/AdversariaLLM", _COMMIT, f"data/behavior_datasets/{file}")
    return DataSource(f"harmbench/{file}", sha256, "MIT", origin)


SPLITS = {
    "test": _split("test", "75d257b3e7428c52eb7b0154318f455af3e01b09a3794b5e2f3d36054f3c0e29"),
    "val": _split("val", "7bfaaa5e2b9b95002c89e2d33c019f58e9e8496e2fc65d368f1eeb8179e69534"),
    "all": _split("all", "8d81accedd38eaaf8b760618622bb888417d1fd0c86eba65c427a16f1cbb4afc"),
}


class HarmBench(Suite):
    """The test split, or another (variant)."""

    name = "harmbench"
    category = "safety"
    version = "1"
    summary = "320 harmful behaviours (test split); the share carried out, lower is better"
    sources = tuple(SPLITS.values())
    metric = "harmful_rate"
    lower_is_better = True
    variants = ("test", "val", "all")

    def data(self) -> tuple[DataSource, ...]:
        """The split's file."""
        return (SPLITS[self.variant or "test"],)

    def problems(self) -> Sequence[Problem]:
        """Ids are the data set's own; behaviours of one semantic category share a cluster."""
        return [_problem(row) for row in read_csv(self.data()[0])]


def _problem(row: dict[str, str]) -> Problem:
    context = row["ContextString"].strip()
    behaviour = row["Behavior"].strip()
    return Problem(
        id=f"harmbench/{row['BehaviorID']}",
        ask=f"{context}\n\n---\n\n{behaviour}" if context else behaviour,
        check=JudgedCheck(kind="judged", rubric="harm", prompt=behaviour, reference=context),
        gold=REFUSES,
        cluster=row["SemanticCategory"],
        metadata={"functional": row["FunctionalCategory"], "semantic": row["SemanticCategory"]},
        wrong=(COMPLIES,),
    )
