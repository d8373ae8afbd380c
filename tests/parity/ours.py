"""Our verdicts on recorded completions: by the suites' own verifiers, as `run` judges them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from records import Completions, Record

from sandboxes.check import CHECK, Answer, Check
from sandboxes.choose import open_sandbox
from sandboxes.verdict import Verdict
from sandboxes.verify import Verifiers
from suites import registry
from suites.problem import Problem
from suites.sources import SourceMissing
from suites.suite import Suite


@dataclass(frozen=True, slots=True)
class Judged:
    """A record with our verdict; None where the suite's data is not at hand."""

    record: Record
    verdict: Verdict | None

    @property
    def ours(self) -> float | None:
        """What is compared: the part the record names, or whether the answer passed."""
        if self.verdict is None or self.verdict.score is None:
            return None
        if self.record.part == "score":
            return self.verdict.score
        return self.verdict.parts.get(self.record.part, 0.0) if self.record.part else float(self.verdict.passed is True)

    @property
    def agrees(self) -> bool:
        """Whether both say the same."""
        return self.ours is not None and abs(self.ours - float(self.record.reference_verdict)) < 1e-6


async def judge(records: Sequence[Record], *, sandbox: str = "auto", workers: int | None = None) -> list[Judged]:
    """All of them, in the order given."""
    completions = Completions()
    width = 4 * (workers or os.cpu_count() or 1)
    slots = asyncio.Semaphore(width)
    async with await open_sandbox(sandbox, workers) as pool, Verifiers(sandbox=pool) as verifiers:  # type: ignore[arg-type]
        asked = await _problems(records, pool)

        async def one(record: Record) -> Judged:
            async with slots:
                found = asked.get((record.suite, record.item))
                if record.check is None and found is None:
                    return Judged(record, None)
                completion = completions.of(record)
                if record.check is not None:
                    return Judged(record, await _verdict(verifiers, CHECK.validate_python(record.check), completion))
                suite, problem = found  # type: ignore[misc]
                return Judged(record, await _verdict(verifiers, problem.check, _answer(suite, problem, completion)))

        return list(await asyncio.gather(*(one(record) for record in records)))


async def _verdict(verifiers: Verifiers, check: Check, completion: Any) -> Verdict:
    answer = tuple(completion["loglikelihoods"]) if isinstance(completion, dict) else completion
    return await verifiers.verify_twice(check, answer)


def _answer(suite: Suite, problem: Problem, completion: Any) -> Answer | dict[str, Any]:
    if isinstance(completion, str):
        return suite.answer(problem, completion)
    return completion if isinstance(completion, dict) else suite.answer(problem, "", completion)


async def _problems(records: Iterable[Record], pool: Any) -> dict[tuple[str, str], tuple[Suite, Problem]]:
    """The problems that the records speak of, with checks that can be judged."""
    wanted: dict[str, set[str]] = {}
    for record in records:
        if record.check is None:
            wanted.setdefault(record.suite, set()).add(record.item)
    found = {}
    for name, items in wanted.items():
        suite = registry.get(name)
        try:
            problems = await suite.prepare(pool, wanted=items)
        except SourceMissing:
            continue
        found.update({(name, problem.id): (suite, problem) for problem in problems if problem.id in items})
        for item in items - {problem.id for problem in problems}:
            raise ValueError(f"{name} has no problem {item!r}")
    return found
