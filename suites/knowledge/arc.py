"""ARC (Clark et al. 2018): grade-school science questions, the easy and the challenge set.

Base models rank the choices' texts after "Question: … Answer:", and the sum by the number of characters decides
(lm-evaluation-harness's acc_norm; `acc` and `acc_bytes` are parts of the verdict). Chat models state a letter.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sandboxes.check import ChoiceCheck
from suites.knowledge.lettered import LETTERS, ask_for_letter, gold_letter, lettered
from suites.problem import Problem, Prompt
from suites.sources import DataSource, github, read_jsonl
from suites.suite import Suite

CHALLENGE = DataSource(
    file="arc/arc_challenge_test.jsonl.gz",
    sha256="85f3505cb453abc8932e9bd61c593f982eaaffe18da2823f595012fbd338c9ba",
    content_sha256="a03a11a8fee86f6d0607f426e7b3b7a9180a4894170e934da75596e93c4b51f1",
    licence="CC-BY-SA-4.0",
    origin=github("LzyFischer/icml_kd", "30f6ce59d478ce4ad1c53dd1f4195d97cb29c530", "data/arc_challenge/{}"),
    parts=("test.jsonl",),
    convert="suites.knowledge.arc:plain_rows",
)
EASY = DataSource(
    file="arc/arc_easy_test.jsonl.gz",
    sha256="0b02d6e016166dc57c08e5c9bce950df3fe70b13a6cf312bd656efed6f1124f3",
    content_sha256="874354cf372667530bd6cbd2d78dca2d657c5e2e746f53cf01d1e9d3a90cbc3d",
    licence="CC-BY-SA-4.0",
    origin=github("nju-websoft/GenMC", "eada4b06cf25bd95333422e1a1c02d4db3d25945", "data/arc_easy/official/{}"),
    parts=("test.jsonl",),
    convert="suites.knowledge.arc:plain_rows",
)


class Arc(Suite):
    """Both sets, or one as a variant."""

    name = "arc"
    category = "knowledge"
    version = "1"
    summary = "3,548 grade-school science questions: 1,172 challenging ones and 2,376 easy ones"
    sources = (CHALLENGE, EASY)
    variants = ("challenge", "easy")

    def data(self) -> tuple[DataSource, ...]:
        """The set of the variant."""
        return {"challenge": (CHALLENGE,), "easy": (EASY,)}.get(self.variant or "", self.sources)

    def problems(self) -> Sequence[Problem]:
        """Ids are the data set's own."""
        return [_problem(row) for source in self.data() for row in read_jsonl(source)]

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """Lettered choices for chat; base models rank the texts."""
        if chat:
            return ask_for_letter(lettered(problem.ask, problem.metadata["choices"]))
        text = f"Question: {problem.ask}\nAnswer:"
        return Prompt(text=text, choices=tuple(f" {choice}" for choice in problem.metadata["choices"]))


def _problem(row: dict[str, Any]) -> Problem:
    texts: list[str] = row["choices"]["text"]
    letter = LETTERS[row["choices"]["label"].index(row["answerKey"])]
    return Problem(
        id=row["id"],
        ask=row["question"],
        check=ChoiceCheck(kind="choice", answer=letter, choices=len(texts), texts=texts, rank_by="characters"),
        gold=gold_letter(letter),
        metadata={"choices": texts},
    )


def plain_rows(parts: Iterable[tuple[str, bytes]]) -> bytes:
    """The rows in the hub's form, whichever of AI2's two forms the host has, without what the host added."""
    ((_, data),) = parts
    lines = []
    for line in data.decode("utf-8").splitlines():
        row = json.loads(line)
        question = row["question"]
        if isinstance(question, dict):
            choices = question["choices"]
            row["question"] = question["stem"]
            row["choices"] = {key: [choice[key] for choice in choices] for key in ("text", "label")}
        kept = {key: row[key] for key in ("id", "question", "choices", "answerKey")}
        lines.append(json.dumps(kept, ensure_ascii=False))
    return "".join(f"{line}\n" for line in lines).encode("utf-8")
