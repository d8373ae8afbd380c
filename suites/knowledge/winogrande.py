"""WinoGrande (Sakaguchi et al. 2020): which of two names a blank stands for.

Base models are scored partially, as Trinh & Le (2018) have it: the sentence up to the blank is filled with each name,
and the one ending that both share is ranked after the two beginnings. Chat models state a letter.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from typing import Any

from sandboxes.check import ChoiceCheck
from suites.knowledge.lettered import LETTERS, ask_for_letter, gold_letter, lettered
from suites.problem import Problem, Prompt
from suites.sources import DataSource, resolve
from suites.suite import Suite

ARCHIVE = DataSource(
    file="winogrande/winogrande_1.1.zip",
    sha256="3619ab104d8be2977b25c90ff420cb42d491707dcc75362a1e5d22bc082b7318",
    licence="CC-BY-2.0",
    origin="https://storage.googleapis.com/ai2-mosaic/public/winogrande/winogrande_1.1.zip",
)


class WinoGrande(Suite):
    """The development split: the test split's labels are not public."""

    name = "winogrande"
    category = "knowledge"
    version = "1"
    summary = "1,267 sentences with a blank that one of two names fills"
    sources = (ARCHIVE,)

    def problems(self) -> Sequence[Problem]:
        """Ids are the data set's own; the two sentences of a twin share a cluster."""
        with zipfile.ZipFile(io.BytesIO(resolve(ARCHIVE).read_bytes())) as files:
            lines = files.read("winogrande_1.1/dev.jsonl").decode("utf-8").splitlines()
        return [problem_of(json.loads(line)) for line in lines]

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """Lettered names for chat; base models rank the ending after each name."""
        names: list[str] = problem.metadata["names"]
        if chat:
            return ask_for_letter(
                lettered(problem.ask, names), "Which choice does the blank (_) in this text stand for?"
            )
        before, _, after = problem.ask.partition("_")
        return Prompt(
            text=problem.ask,
            choices=(f" {after.strip()}",) * len(names),
            contexts=tuple(f"{before}{name}" for name in names),
        )


def problem_of(row: dict[str, Any]) -> Problem:
    """The problem of one row."""
    letter = LETTERS[int(row["answer"]) - 1]
    return Problem(
        id=row["qID"],
        ask=row["sentence"],
        check=ChoiceCheck(kind="choice", answer=letter, choices=2),
        gold=gold_letter(letter),
        cluster=row["qID"].rpartition("-")[0],
        metadata={"names": [row["option1"], row["option2"]]},
    )
