"""GSM8K: grade-school word problems (Cobbe et al. 2021), the final number judged as mathematics.

Chat models are asked zero-shot for a boxed answer. Base models continue eight worked examples of the train split, the
same for every run, chosen by index: the first eight whose working has three to five lines, so that none is trivial.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from sandboxes.check import MathCheck
from suites.problem import Message, Problem, Prompt
from suites.sources import DataSource, github, read_jsonl
from suites.suite import Suite

_REPOSITORY = ("openai/grade-school-math", "3101c7d5072418e28b9008a6636bde82a006892c")
TEST = DataSource(
    file="gsm8k/test.jsonl.gz",
    sha256="bb13a52c31b1fa4805ebab294dce067e337ccd4b61c3e6461c85c92965282c62",
    content_sha256="3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
    licence="MIT",
    origin=github(*_REPOSITORY, "grade_school_math/data/test.jsonl"),
)
TRAIN = DataSource(
    file="gsm8k/train.jsonl.gz",
    sha256="d52a31668743a4f18e4a284514e54eea07a06ae31fcf4293af2506c198c05bda",
    content_sha256="17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
    licence="MIT",
    origin=github(*_REPOSITORY, "grade_school_math/data/train.jsonl"),
)

SHOTS = 8
_CALCULATOR = re.compile(r"<<[^>]*>>")


class Gsm8k(Suite):
    """All 1,319 test problems."""

    name = "gsm8k"
    category = "math"
    version = "1"
    summary = "1,319 grade-school word problems"
    sources = (TEST, TRAIN)

    def problems(self) -> Sequence[Problem]:
        """The test split; ids are row numbers, the data set has none."""
        return [_problem(number, row["question"], row["answer"]) for number, row in enumerate(read_jsonl(TEST))]

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """Zero-shot for chat, eight fixed shots for base models."""
        if chat:
            ask = f"{problem.ask}\n\nReason step by step, then give the final number in \\boxed{{}}."
            return Prompt(messages=(Message("user", ask),))
        return Prompt(text=f"{worked_examples()}Question: {problem.ask}\nAnswer:", stop=("\nQuestion:", "\n\n\n"))


def _problem(number: int, question: str, worked: str) -> Problem:
    working, final = _split(worked)
    return Problem(
        id=f"gsm8k/{number}",
        ask=question.strip(),
        check=MathCheck(kind="math", answer=final),
        gold=f"{working}\nThe answer is $\\boxed{{{final}}}$.",
        metadata={"steps": working.count("\n") + 1},
    )


def _split(worked: str) -> tuple[str, str]:
    """Working without calculator marks, and the final number without thousands separators."""
    working, _, final = _CALCULATOR.sub("", worked).rpartition("\n#### ")
    return working.strip(), final.strip().replace(",", "")


@cache
def worked_examples() -> str:
    """Eight solved problems of the train split, the same for every run."""
    shots = []
    for row in read_jsonl(TRAIN):
        working, final = _split(row["answer"])
        if 3 <= working.count("\n") + 1 <= 5:
            shots.append(f"Question: {row['question'].strip()}\nAnswer: {working}\nThe answer is {final}.\n\n")
        if len(shots) == SHOTS:
            break
    return "".join(shots)
