"""IFEval (Zhou et al. 2023): prompts whose instructions a program can check. All must hold, strictly.

The data set has no model answers, so there is no gold; the verifier's own tests have them.
"""

from __future__ import annotations

from collections.abc import Sequence

from suites.chat.instructions import instruction_problems
from suites.problem import Problem
from suites.sampling import Sampling
from suites.sources import DataSource, github
from suites.suite import Suite

PROMPTS = DataSource(
    file="ifeval/input_data.jsonl",
    sha256="67ffeee0fcb87c317c5b08a2de85557b4a7e96ada6178aa645b4954fe4b53d49",
    licence="CC-BY-4.0",
    origin=github(
        "josejg/instruction_following_eval",
        "0c495b2f95155e8b10acb919ae283bfb4d5be6e2",
        "instruction_following_eval/data/input_data.jsonl",
    ),
)


class IfEval(Suite):
    """All 541 prompts; the score is prompt-level strict accuracy, `parts` hold the other three."""

    name = "ifeval"
    category = "chat"
    version = "1"
    summary = "541 prompts with instructions that a program can check"
    sources = (PROMPTS,)
    metric = "prompt_strict"
    sampling = Sampling(max_tokens=1280)  # as the reference's runs: long enough for "at least 400 words"
    has_gold = False

    def problems(self) -> Sequence[Problem]:
        """Ids are the data set's keys."""
        return instruction_problems(PROMPTS, self.name)
