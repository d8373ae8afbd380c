"""IFBench (Pyatkin et al. 2025): 300 prompts with 58 kinds of instructions that a program can check, none of IFEval's.

The score is prompt-level loose accuracy, as the authors report it; `prompt_strict` and the two per instruction stand
beside it. The data set has no model answers, so there is no gold; the verifier's own tests have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from sandboxes.verifiers.ifbench_words import PACKAGES
from suites.chat.instructions import instruction_problems
from suites.problem import Problem
from suites.sampling import Sampling
from suites.sources import DataSource, SourceMissing, github
from suites.suite import Suite

PROMPTS = DataSource(
    file="ifbench/IFBench_test.jsonl.gz",
    sha256="311b413d05a5033a00ea783a16a6d8ee4e749fe80a804c218a7a99a89dba34b5",
    licence="ODC-BY-1.0",
    origin=github("allenai/IFBench", "db69a6f05689830b0068b8f1529ebcfd2f3b164c", "data/IFBench_test.jsonl"),
    content_sha256="a2bf7b8e7ed11d39c65b4ec781da8b99663ed0121f97033d70fcecb61f8a9d85",
)


class IfBench(Suite):
    """All 300 prompts."""

    name = "ifbench"
    category = "chat"
    version = "1"
    summary = "300 prompts with 58 kinds of checkable instructions that IFEval does not have"
    sources = (PROMPTS,)
    metric = "prompt_loose"
    sampling = Sampling(max_tokens=2048)
    has_gold = False

    def problems(self) -> Sequence[Problem]:
        """Ids are the data set's keys.

        Raises:
            SourceMissing: Also where the packages that some rules need are not installed.
        """
        missing = [name for name in PACKAGES if find_spec(name) is None]
        if missing:
            raise SourceMissing(
                f"IFBench's rules need {', '.join(missing)}", 'run `pip install "mellum-eval[ifbench]"`'
            )
        return instruction_problems(PROMPTS, self.name)
