"""MMLU-Redux 2.0 (Gema et al. 2024): MMLU questions that people annotated again, 100 for each of 57 subjects.

Only the 5,330 rows annotated `ok` are asked. The others are faulty (unclear, no or several right choices, a wrong
key), the file does not carry corrected keys, and a score on a wrong key rewards the wrong answer. Chat models answer
in text; base models by the log-likelihood of the letters. Problems of one subject share a cluster.
"""

from __future__ import annotations

import ast
import csv
import io
import json
from collections.abc import Iterable, Sequence

from sandboxes.check import ChoiceCheck
from suites.problem import Message, Problem, Prompt
from suites.sources import DataSource, github, read_jsonl
from suites.suite import Suite

LETTERS = "ABCD"
_SUBJECTS = (
    "abstract_algebra anatomy astronomy business_ethics clinical_knowledge college_biology college_chemistry "
    "college_computer_science college_mathematics college_medicine college_physics computer_security "
    "conceptual_physics econometrics electrical_engineering elementary_mathematics formal_logic global_facts "
    "high_school_biology high_school_chemistry high_school_computer_science high_school_european_history "
    "high_school_geography high_school_government_and_politics high_school_macroeconomics high_school_mathematics "
    "high_school_microeconomics high_school_physics high_school_psychology high_school_statistics "
    "high_school_us_history high_school_world_history human_aging human_sexuality international_law jurisprudence "
    "logical_fallacies machine_learning management marketing medical_genetics miscellaneous moral_disputes "
    "moral_scenarios nutrition philosophy prehistory professional_accounting professional_law professional_medicine "
    "professional_psychology public_relations security_studies sociology us_foreign_policy virology world_religions"
)
ROWS = DataSource(
    file="mmlu_redux/mmlu_redux.jsonl.gz",
    sha256="e6dfaf9d4f41c843700bbfeb4f5d101fb07b49c71fe9859311c236410bbe90b5",
    content_sha256="0d43279f5254b4d68381fab46eaa07c2bced75f48b6e576e570391c7fc6d2ddc",
    licence="CC-BY-4.0",
    origin=github("aryopg/mmlu-redux", "4563cfa79b659d76716e5b6019f46bba85fa02db", "outputs/multi_expert_helm/{}.csv"),
    parts=tuple(_SUBJECTS.split()),
    convert="suites.knowledge.mmlu_redux:rows_of_subjects",
)


class MmluRedux(Suite):
    """The sound rows of all subjects."""

    name = "mmlu_redux"
    category = "knowledge"
    version = "1"
    summary = "5,330 MMLU questions that annotators found sound, 57 subjects"
    sources = (ROWS,)

    def problems(self) -> Sequence[Problem]:
        """Ids are subject and row number among all of the subject's rows."""
        problems, seen = [], dict.fromkeys(ROWS.parts, 0)
        for row in read_jsonl(ROWS):
            subject, number = row["subject"], seen[row["subject"]]
            seen[subject] += 1
            if row["error_type"] == "ok":
                problems.append(_problem(f"{subject}/{number}", subject, row))
        return problems

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """A question with lettered choices; base models rank the letters."""
        subject = str(problem.metadata["subject"]).replace("_", " ")
        if chat:
            ask = (
                f"This is a multiple-choice question about {subject}.\n\n{problem.ask}\n\n"
                'End your reply with "Answer: " and the letter of the right choice.'
            )
            return Prompt(messages=(Message("user", ask),))
        text = f"Multiple-choice questions about {subject}.\n\n{problem.ask}\nAnswer:"
        return Prompt(text=text, choices=tuple(f" {letter}" for letter in LETTERS))


def _problem(identifier: str, subject: str, row: dict[str, str]) -> Problem:
    choices: list[str] = ast.literal_eval(row["choices"])
    letter = LETTERS[int(row["groundtruth_answer"])]
    lines = [f"{mark}. {choice}" for mark, choice in zip(LETTERS, choices, strict=True)]
    return Problem(
        id=identifier,
        ask="\n".join([row["question"].strip(), *lines]),
        check=ChoiceCheck(kind="choice", answer=letter, choices=len(choices)),
        gold=f"Answer: {letter}",
        cluster=subject,
        metadata={"subject": subject},
    )


def rows_of_subjects(parts: Iterable[tuple[str, bytes]]) -> bytes:
    """One JSON line a question out of the repository's tables a subject, without the models' predictions there."""
    kept = ("question", "choices", "groundtruth_answer", "error_type")
    lines = []
    for subject, table in parts:
        for row in csv.DictReader(io.StringIO(table.decode("utf-8"), newline="")):
            lines.append(json.dumps({"subject": subject} | {key: row[key] for key in kept}, ensure_ascii=False))
    return "".join(f"{line}\n" for line in lines).encode("utf-8")
