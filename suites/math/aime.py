r"""AIME, the American Invitational Mathematics Examination: 30 problems a year, answers from 0 to 999.

The Mellum 2 report's score is the mean over the 60 problems of 2025 and 2026, one greedy sample each (`:report`). With
more samples (`--samples 32 --temperature 0.6`) avg@k, pass@k and maj@k are reported. 2026 comes from the hub.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sandboxes.check import MathCheck
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource, github, read_jsonl, read_parquet
from suites.suite import Suite

_QWQ = ("QwenLM/QwQ", "620a5eadc89ff464d339367dd9c9973a93215c81")
_SUFFIX = "\nPlease reason step by step, and put your final answer within \\boxed{}."
YEARS = {
    "2024": DataSource(
        file="aime/aime24.jsonl",
        sha256="5a7a817807c8c2b6b541631deaa6d8c2eb7f0420e0f2373a25878921e920b6da",
        licence="Apache-2.0 (host); problems (c) MAA",
        origin=github(*_QWQ, "eval/data/aime24.jsonl"),
    ),
    "2025": DataSource(
        file="aime/aime25.jsonl",
        sha256="9da60057135388687f3c594476b211538d0be8e7f3b2de6e680513281412c0ec",
        licence="Apache-2.0 (host); problems (c) MAA",
        origin=github(*_QWQ, "eval/data/aime25.jsonl"),
    ),
    "2026": DataSource(
        file="aime/aime26.parquet",
        sha256="d91db799651b4cc1f0734f52792a695c9cc60dac342524b3d8e5b2ff31c3e957",
        licence="CC-BY-NC-SA-4.0 (host); problems (c) MAA",
        origin="hf:MathArena/aime_2026@d2de22f3c656b4f56cf8981212186377d1e23bc3/data/train-00000-of-00001.parquet",
    ),
}


class Aime(Suite):
    """The problems of 2024 and 2025; a year, or the report's two years, as a variant."""

    name = "aime"
    category = "math"
    version = "1"
    summary = "30 problems a year of AIME 2024, 2025 and 2026, answers 0 to 999"
    sources = tuple(YEARS.values())
    sampling = Sampling(max_tokens=16384)
    variants = (*YEARS, "report")

    @property
    def _years(self) -> tuple[str, ...]:
        return {None: ("2024", "2025"), "report": ("2025", "2026")}.get(self.variant, (str(self.variant),))

    def data(self) -> tuple[DataSource, ...]:
        """The files of the variant's years."""
        return tuple(YEARS[year] for year in self._years)

    def problems(self) -> Sequence[Problem]:
        """Ids are year and place in the file, from 1."""
        return [
            Problem(
                id=f"aime{year}/{number}",
                ask=ask,
                check=MathCheck(kind="math", answer=str(answer)),
                gold=f"The answer is $\\boxed{{{answer}}}$.",
                metadata={"year": int(year)},
            )
            for year in self._years
            for number, (ask, answer) in enumerate(_rows(YEARS[year]), 1)
        ]

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """Zero-shot in both forms."""
        if chat:
            ask = f"{problem.ask}\n\nReason step by step, then give the final answer in \\boxed{{}}."
            return Prompt(messages=(Message("user", ask),))
        text = f"Problem:\n{problem.ask}\n\nSolution (the final answer stands in \\boxed{{}}):\n"
        return Prompt(text=text, stop=("\nProblem:",))


def _rows(source: DataSource) -> Iterator[tuple[str, Any]]:
    """Questions without the instruction that the host added, and answers."""
    rows = read_parquet(source) if source.file.endswith(".parquet") else read_jsonl(source)
    for row in rows:
        yield str(row.get("prompt", row.get("problem"))).removesuffix(_SUFFIX).strip(), row["answer"]
