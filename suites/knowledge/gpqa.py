"""GPQA (Rein et al. 2023): graduate-level science questions, written so that a search does not answer them.

The hub's data set is gated: its terms must be accepted there, and `HF_TOKEN` set. The table has the right answer first;
choices are shuffled by the record's id, the same for every run. Its authors ask that examples not be shown in plain
text on the web: reports of this suite are for those who accepted the terms.
"""

from __future__ import annotations

from collections.abc import Sequence

from sandboxes.check import ChoiceCheck
from suites.knowledge.lettered import LETTERS, ask_for_letter, gold_letter, lettered, rank_letters, shuffled
from suites.problem import Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource, read_csv
from suites.suite import Suite

# Gated: nobody here has the files, so the commit pins them, and the sum is what the first fetch got.
_HUB = "hf:Idavidrein/gpqa@633f5ee89ab8ad4522a9f850766b73f62147ffdd"
MAIN = DataSource(
    file="gpqa/gpqa_main.csv",
    sha256="",
    licence="CC-BY-4.0",
    origin=f"{_HUB}/gpqa_main.csv",
)
DIAMOND = DataSource(
    file="gpqa/gpqa_diamond.csv",
    sha256="",
    licence="CC-BY-4.0",
    origin=f"{_HUB}/gpqa_diamond.csv",
)
CHOICES = 4


class Gpqa(Suite):
    """The 198 questions of the diamond set, or the 448 of the main set as a variant."""

    name = "gpqa"
    category = "knowledge"
    version = "1"
    summary = "graduate-level science questions: 198 of the diamond set, 448 of the main set; gated"
    sources = (MAIN, DIAMOND)
    sampling = Sampling(max_tokens=4096)
    variants = ("diamond", "main")

    def data(self) -> tuple[DataSource, ...]:
        """The set of the variant."""
        return (MAIN,) if self.variant == "main" else (DIAMOND,)

    def problems(self) -> Sequence[Problem]:
        """Ids are the records' own; questions of one subdomain share a cluster."""
        return [problem_of(row) for row in read_csv(self.data()[0])]

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """Zero-shot in both forms; base models rank the letters."""
        if chat:
            return ask_for_letter(problem.ask, reasoned=True)
        return rank_letters(f"Question: {problem.ask}\nAnswer:", CHOICES)


def problem_of(row: dict[str, str]) -> Problem:
    """The problem of one record."""
    identifier, right = row["Record ID"], row["Correct Answer"].strip()
    wrong = [row[f"Incorrect Answer {number}"].strip() for number in (1, 2, 3)]
    choices = shuffled([right, *wrong], identifier)
    letter = LETTERS[choices.index(right)]
    return Problem(
        id=identifier,
        ask=lettered(row["Question"], choices),
        check=ChoiceCheck(kind="choice", answer=letter, choices=CHOICES),
        gold=gold_letter(letter),
        cluster=row["Subdomain"],
        metadata={"domain": row["High-level domain"], "subdomain": row["Subdomain"]},
    )
