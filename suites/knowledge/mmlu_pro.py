"""MMLU-Pro (Wang et al. 2024): 12,032 harder questions with up to ten choices, 14 categories.

Chat models reason and state a letter. Base models either rank the letters (as given), or reason after five worked
examples and state a letter (`:cot`, the reference's form). The reference's worked examples are the validation split's,
which the mirror's file has not; for ranking five answered MMLU development questions of a related subject stand in, so
that nothing of the test split is shown. Categories are all that there are, no clusters. `:cot` shows them with "The
answer is (B)." in place of a worked answer.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Sequence

from sandboxes.check import ChoiceCheck
from suites.knowledge.lettered import ask_for_letter, lettered, rank_letters
from suites.knowledge.mmlu import DEV, development
from suites.problem import Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource, github, read_jsonl
from suites.suite import Suite

TEST = DataSource(
    file="mmlu_pro/mmlu_pro_test.jsonl.gz",
    sha256="749780a1889ffca6b4bd30aff67e8f015d5e29ccc14b1ca0780673528f475b99",
    content_sha256="df683355909f9ce3c4643075e503c2194bc07ede3731fc7200c9e10f82d680e7",
    licence="MIT",
    origin=github("TIGER-AI-Lab/MMLU-Pro", "f418b116db00b065c2aea046518d8fcf74d39872", "eval_results/{}"),
    parts=("model_outputs_Llama-2-7b-hf_5shots.zip",),
    convert="suites.knowledge.mmlu_pro:rows_of_dump",
)
SUBJECTS = {
    "biology": "college_biology",
    "business": "management",
    "chemistry": "college_chemistry",
    "computer science": "college_computer_science",
    "economics": "econometrics",
    "engineering": "electrical_engineering",
    "health": "clinical_knowledge",
    "history": "high_school_world_history",
    "law": "professional_law",
    "math": "college_mathematics",
    "other": "miscellaneous",
    "philosophy": "philosophy",
    "physics": "college_physics",
    "psychology": "professional_psychology",
}
"""Which MMLU subject's development questions are shown before a category's."""


class MmluPro(Suite):
    """The test split."""

    name = "mmlu_pro"
    category = "knowledge"
    version = "1"
    summary = "12,032 questions with up to ten choices, 14 categories"
    sources = (TEST, DEV)
    sampling = Sampling(max_tokens=2048)
    variants = ("cot",)

    def problems(self) -> Sequence[Problem]:
        """Ids are the data set's own."""
        return [
            Problem(
                id=f"mmlu_pro/{row['question_id']}",
                ask=lettered(row["question"], row["options"]),
                # Five questions are left with one option; a check has at least two letters.
                check=ChoiceCheck(kind="choice", answer=row["answer"], choices=max(2, len(row["options"]))),
                gold=f"The answer is ({row['answer']}).",
                metadata={"category": row["category"], "options": len(row["options"])},
            )
            for row in read_jsonl(TEST)
        ]

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """Zero-shot with reasoning for chat; five answered questions for base models."""
        category = str(problem.metadata["category"])
        if chat:
            return ask_for_letter(problem.ask, f"This is a multiple-choice question about {category}.", reasoned=True)
        shots = development(SUBJECTS[category])
        head = f"The following are multiple choice questions (with answers) about {category}.\n\n"
        if self.variant == "cot":
            worked = (f"{shot[: -len('Answer: X')]}Answer: The answer is ({shot[-1]}).\n\n" for shot in shots)
            text = f"{head}{''.join(worked)}{problem.ask}\nAnswer: Let's think step by step."
            return Prompt(text=text, stop=("\n\nQuestion:", "\n\n\n", "Question:"))
        text = head + "".join(f"{shot}\n\n" for shot in shots)
        return rank_letters(f"{text}{problem.ask}\nAnswer:", max(2, int(problem.metadata["options"])))


def rows_of_dump(parts: Iterable[tuple[str, bytes]]) -> bytes:
    """The questions out of a published dump of one model's answers, without the answers."""
    ((_, archive),) = parts
    kept = ("question_id", "question", "options", "answer", "answer_index", "category", "src")
    lines = []
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        for name in sorted(name for name in files.namelist() if name.endswith(".json")):
            rows = json.loads(files.read(name))
            lines += [json.dumps({key: row[key] for key in kept}, ensure_ascii=False) for row in rows]
    return "".join(f"{line}\n" for line in lines).encode("utf-8")
