"""What a verifier says of an answer: an outcome, a score, and evidence a person can read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

Isolation = Literal["split", "shared", "none needed"]
"""`split`: tests and expected values were never in the candidate's process; `shared`: they were; or nothing was run."""


class Outcome(StrEnum):
    """Why an answer got its score. Only `INFRA_ERROR` is our fault, and only it has no score."""

    PASSED = "passed"
    FAILED = "failed"
    COMPILE_ERROR = "compile_error"
    RUNTIME_ERROR = "runtime_error"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    TAMPERED = "tampered"
    UNPARSED = "unparsed"
    INFRA_ERROR = "infra_error"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one answer against one check.

    Attributes:
        outcome: The cause, as in `Outcome`.
        score: Fraction of tests passed, in [0, 1]; None if and only if the outcome is `infra_error`.
        tests_passed: Tests that held.
        tests_total: Tests there were (0 where nothing could be run).
        message: One line for a person: the first failure, the signal, the missing thing.
        cpu_s: CPU seconds that the candidate's whole process tree used.
        wall_s: Wall seconds from start to verdict of the candidate's job.
        engine: `docker`, `local`, or `none` where nothing was run.
        isolation: See `Isolation`.
        parts: Named sub-scores in [0, 1] that metrics are made of (EvalPlus's `base`, IFEval's `prompt_loose`).
        evidence: JSON-serialisable details for a report (extracted answer, first failing call, tail of stderr).
    """

    outcome: Outcome
    score: float | None
    tests_passed: int = 0
    tests_total: int = 1
    message: str = ""
    cpu_s: float = 0.0
    wall_s: float = 0.0
    engine: str = "none"
    isolation: Isolation = "none needed"
    parts: Mapping[str, float] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.score is None) != (self.outcome is Outcome.INFRA_ERROR):
            raise ValueError(
                f"a score is absent if and only if the outcome is infra_error, not {self.outcome}/{self.score}"
            )
        if self.score is not None and not 0.0 <= self.score <= 1.0:
            raise ValueError(f"score {self.score} is outside [0, 1]")

    @property
    def passed(self) -> bool | None:
        """True, False, or None where it could not be judged."""
        return None if self.outcome is Outcome.INFRA_ERROR else self.outcome is Outcome.PASSED

    def as_line(self, id: str | None) -> dict[str, Any]:
        """The answer line of `mellum-eval verify` (contract 3), ready for `json.dumps`."""
        return {
            "id": id,
            "outcome": str(self.outcome),
            "score": self.score,
            "passed": self.passed,
            "tests_passed": self.tests_passed,
            "tests_total": self.tests_total,
            "message": self.message,
            "cpu_s": round(self.cpu_s, 6),
            "wall_s": round(self.wall_s, 6),
            "sandbox": {"engine": self.engine, "isolation": self.isolation},
        }

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> Verdict:
        """The inverse of `as_line`, as far as a line holds a verdict: parts and evidence are not in it.

        Raises:
            KeyError, TypeError, ValueError: It is no such line.
        """
        sandbox, score = line["sandbox"], line["score"]
        return cls(
            Outcome(line["outcome"]),
            None if score is None else float(score),
            int(line["tests_passed"]),
            int(line["tests_total"]),
            str(line["message"]),
            cpu_s=float(line["cpu_s"]),
            wall_s=float(line["wall_s"]),
            engine=str(sandbox["engine"]),
            isolation=sandbox["isolation"],
        )


def infra_error(message: str, *, engine: str = "none", isolation: Isolation = "none needed") -> Verdict:
    """A verdict that says: we could not judge this, and it was our fault."""
    return Verdict(Outcome.INFRA_ERROR, None, 0, 0, message, engine=engine, isolation=isolation)
