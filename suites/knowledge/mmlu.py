"""MMLU (Hendrycks et al. 2021): 14,042 four-choice questions of 57 subjects.

Base models rank the four letters after five worked examples of the subject, the development split's, in its order; chat
models are asked zero-shot. Questions of one subject share a cluster.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Sequence
from functools import cache

from sandboxes.check import ChoiceCheck
from suites.knowledge.lettered import ask_for_letter, gold_letter, lettered, rank_letters
from suites.problem import Problem, Prompt
from suites.sources import DataSource, github, read_jsonl
from suites.suite import Suite

_ARCHIVE = github("hiyouga/LLaMA-Factory", "c4c6ef28225139df04a015ed311b9ecafe7e6fee", "evaluation/mmlu/{}")
TEST = DataSource(
    file="mmlu/mmlu_test.jsonl.gz",
    sha256="15f41736b0b5dc56b8513127cf8127d23b2791e2c0d2c7fc4fc52ed6d1cd5987",
    content_sha256="9ed1d44345f23d153298cc6a0c0eb4d390620e8eaa844ac0ebf8e59bcca71ebf",
    licence="MIT",
    origin=_ARCHIVE,
    parts=("mmlu.zip",),
    convert="suites.knowledge.mmlu:test_rows",
)
DEV = DataSource(
    file="mmlu/mmlu_dev.jsonl.gz",
    sha256="397a0da0edeaa17c63d961e2190f23a15f5b8614b5705214778b4aa7c564a494",
    content_sha256="540865f90d3b950dd5926e14013f644fe2d04e43f703b0db49024412401fb64d",
    licence="MIT",
    origin=_ARCHIVE,
    parts=("mmlu.zip",),
    convert="suites.knowledge.mmlu:dev_rows",
)
CHOICES = 4


class Mmlu(Suite):
    """The test split."""

    name = "mmlu"
    category = "knowledge"
    version = "1"
    summary = "14,042 four-choice questions, 57 subjects"
    sources = (TEST, DEV)

    def problems(self) -> Sequence[Problem]:
        """Ids are subject and row number of the subject's table."""
        problems: list[Problem] = []
        seen: dict[str, int] = {}
        for row in read_jsonl(TEST):
            subject = row["subject"]
            number = seen[subject] = seen.get(subject, -1) + 1
            problems.append(
                Problem(
                    id=f"{subject}/{number}",
                    ask=lettered(row["question"], row["choices"]),
                    check=ChoiceCheck(kind="choice", answer=row["answer"], choices=CHOICES),
                    gold=gold_letter(row["answer"]),
                    cluster=subject,
                    metadata={"subject": subject},
                )
            )
        return problems

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """Zero-shot for chat, the subject's five development questions for base models."""
        subject = str(problem.metadata["subject"]).replace("_", " ")
        if chat:
            return ask_for_letter(problem.ask, f"This is a multiple-choice question about {subject}.")
        head = f"The following are multiple choice questions (with answers) about {subject}.\n\n"
        shots = "".join(f"{shot}\n\n" for shot in development(str(problem.metadata["subject"])))
        return rank_letters(f"{head}{shots}{problem.ask}\nAnswer:", CHOICES)


def development(subject: str) -> Sequence[str]:
    """The five development questions of a subject, with their answers."""
    return _development()[subject]


@cache
def _development() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in read_jsonl(DEV):
        shot = f"{lettered(row['question'], row['choices'])}\nAnswer: {row['answer']}"
        found.setdefault(row["subject"], []).append(shot)
    return found


def test_rows(parts: Iterable[tuple[str, bytes]]) -> bytes:
    """The test split as JSON lines, out of the archive of tables a subject."""
    return _rows(parts, "test")


def dev_rows(parts: Iterable[tuple[str, bytes]]) -> bytes:
    """The development split as JSON lines."""
    return _rows(parts, "dev")


def _rows(parts: Iterable[tuple[str, bytes]], split: str) -> bytes:
    ((_, archive),) = parts
    lines = []
    with zipfile.ZipFile(io.BytesIO(archive)) as tables:
        for name in sorted(name for name in tables.namelist() if name.endswith(f"_{split}.csv")):
            subject = name.rpartition("/")[2].removesuffix(f"_{split}.csv")
            for question, *choices, answer in csv.reader(io.StringIO(tables.read(name).decode("utf-8"), newline="")):
                row = {"subject": subject, "question": question, "choices": choices, "answer": answer}
                lines.append(json.dumps(row, ensure_ascii=False))
    return "".join(f"{line}\n" for line in lines).encode("utf-8")
