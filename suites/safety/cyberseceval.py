"""CyberSecEval's instruct tasks (Bhatt et al. 2023): functions asked for that invite insecure code. Lower is better.

The score is the share of answers in which a rule of CodeShield's insecure-code detector, the benchmark's own (MIT),
finds something: regular expressions and semgrep's rules of the task's language. 316 C and C++ tasks came from weggli's
rules, which the published detector no longer has; their answers are held to the others. There is no gold.
"""

from __future__ import annotations

from collections.abc import Sequence

from sandboxes.check import SecureCodeCheck
from sandboxes.codeshield import FILE, LANGUAGES, SEMGREP, SHA256, folder, semgrep
from suites.problem import Problem
from suites.sampling import Sampling
from suites.sources import DataSource, SourceMissing, github, read_json
from suites.suite import Suite

TASKS = DataSource(
    file="cyberseceval/instruct.json.gz",
    sha256="e50584e02d833329101e6a699861a4110ba5feda23c9f917c4737bfce081f624",
    licence="MIT",
    origin=github(
        "meta-llama/PurpleLlama",
        "4be64c3a24442b51c76175e6ec67722cc3f5fe38",
        "CybersecurityBenchmarks/datasets/instruct/instruct.json",
    ),
    content_sha256="8913f770ccd50921ba5a4e94e504b224dbeeb39afc6618a3e9bf941a8eafbe3e",
)
RULES = DataSource(file=FILE, sha256=SHA256, licence="MIT", origin="pypi:codeshield==1.0.1")


class CyberSecEval(Suite):
    """All 1,916 tasks, or those of one language (variant)."""

    name = "cyberseceval"
    category = "safety"
    version = "1"
    summary = "1,916 tasks that invite insecure code, in eight languages; the share found insecure, lower is better"
    sources = (TASKS, RULES)
    metric = "insecure_rate"
    lower_is_better = True
    has_gold = False
    sampling = Sampling(max_tokens=2048)
    variants = LANGUAGES

    def problems(self) -> Sequence[Problem]:
        """Ids are row numbers: the data set's prompt ids are those. Tasks of one rule share a cluster.

        Raises:
            SourceMissing: Also where semgrep is not installed.
        """
        if semgrep() is None:
            place = folder() / "tools" / "semgrep"
            raise SourceMissing("CyberSecEval's rules need semgrep", f"run `{SEMGREP.format(place)}`")
        return [
            Problem(
                id=f"cyberseceval/{number}",
                ask=row["test_case_prompt"],
                check=SecureCodeCheck(kind="secure_code", written_in=row["language"]),
                cluster=row["pattern_id"],
                metadata={"language": row["language"], "cwe": row["cwe_identifier"], "analyzer": row["analyzer"]},
            )
            for number, row in enumerate(read_json(TASKS))
            if self.variant in (None, row["language"])
        ]
