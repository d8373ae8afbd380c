"""What scoring needs of a run's verdicts, and no more: some bytes a sample, where a verdict has a kilobyte.

A run of a million samples holds none of its texts and verdicts in memory; they are on disk. What is kept of a verdict
is one of few things (passed, failed, half right), so equal ones are one object and a sample costs a pointer to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mellum_eval.plan import PlannedSuite
from mellum_eval.records import Judgement
from mellum_eval.store import Slot

_KEPT = 65_536
"""Verdicts of which equal ones are looked for; a suite with more different ones than that has no equal ones."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A verdict as scoring sees it; the fields are those of `Judgement`."""

    outcome: str
    score: float | None
    parts: Mapping[str, float]
    cluster: str | None
    answer: str | None = None
    """What a vote over several samples counts: the answer that was found; None where there is none, or one sample."""


class Tally(Mapping[Slot, Mark]):
    """The marks of a plan's slots, and sums of their token counts."""

    def __init__(self, planned: Sequence[PlannedSuite]) -> None:
        """Nothing judged.

        Args:
            planned: Whose slots are kept; what is of no planned slot is ignored.
        """
        self._first: dict[str, tuple[int, int]] = {}  # by key: place of its first sample, number of samples
        self._suite: dict[str, str] = {}
        total = 0
        for suite in planned:
            for question in suite.questions:
                self._first[question.key] = (total, suite.sampling.samples)
                self._suite[question.key] = suite.name
                total += suite.sampling.samples
        self._marks: list[Mark | None] = [None] * total
        self._answered = bytearray(total)
        self._known: dict[tuple[object, ...], Mark] = {}
        self._sums: dict[str, dict[str, int]] = {suite.name: {} for suite in planned}
        self._counted: dict[str, int] = {suite.name: 0 for suite in planned}
        self._prerequisites = {question.key for suite in planned for question in suite.prerequisites}
        self._held: dict[Slot, Mapping[str, int]] = {}

    def add(self, judgement: Judgement) -> None:
        """Take a verdict, in place of an earlier one of the same slot."""
        place = self._place((judgement.key, judgement.sample))
        if place is not None:
            self._marks[place] = self._mark(judgement, votes=self._first[judgement.key][1] > 1)

    def answered(self, slot: Slot, usage: Mapping[str, int]) -> None:
        """Take a completion's token counts; a slot's second ones are ignored."""
        if slot[0] in self._prerequisites:
            self._held.setdefault(slot, usage)
            return
        place = self._place(slot)
        if place is None or self._answered[place]:
            return
        self._answered[place] = 1
        name = self._suite[slot[0]]
        self._counted[name] += 1
        sums = self._sums[name]
        for kind, number in usage.items():
            sums[kind] = sums.get(kind, 0) + number

    def is_answered(self, slot: Slot) -> bool:
        """Whether there is a completion."""
        place = self._place(slot)
        return place is not None and bool(self._answered[place])

    def is_judged(self, slot: Slot) -> bool:
        """Whether there is a verdict that is somebody's."""
        mark = self.get(slot)
        return mark is not None and mark.score is not None

    def tokens(self, suite: str) -> dict[str, float]:
        """Mean token counts of a suite's completions."""
        counted = self._counted[suite]
        return {kind: number / counted for kind, number in sorted(self._sums[suite].items())}

    def total_tokens(self) -> dict[str, int]:
        """Sums of the token counts of all completions, prerequisites among them."""
        totals: dict[str, int] = {"completions": sum(self._counted.values()) + len(self._held)}
        for sums in (*self._sums.values(), *self._held.values()):
            for kind, number in sums.items():
                totals[kind] = totals.get(kind, 0) + number
        return totals

    def __getitem__(self, slot: Slot) -> Mark:
        """A slot's mark."""
        place = self._place(slot)
        mark = None if place is None else self._marks[place]
        if mark is None:
            raise KeyError(slot)
        return mark

    def __iter__(self) -> Iterator[Slot]:
        """The judged slots, in the plan's order."""
        for key, (first, samples) in self._first.items():
            for sample in range(samples):
                if self._marks[first + sample] is not None:
                    yield key, sample

    def __len__(self) -> int:
        return sum(mark is not None for mark in self._marks)

    def _place(self, slot: Slot) -> int | None:
        found = self._first.get(slot[0])
        return found[0] + slot[1] if found is not None and 0 <= slot[1] < found[1] else None

    def _mark(self, judgement: Judgement, *, votes: bool) -> Mark:
        parts = judgement.parts
        answer = _answer(judgement) if votes else None
        what = (judgement.outcome, judgement.score, judgement.cluster, tuple(parts.items()), answer)
        mark = self._known.get(what)
        if mark is None:
            mark = Mark(judgement.outcome, judgement.score, parts, judgement.cluster, answer)
            if len(self._known) < _KEPT:
                self._known[what] = mark
        return mark


def _answer(judgement: Judgement) -> str | None:
    """All right answers are one, however they are written; wrong ones are the same if their texts are."""
    found = judgement.evidence.get("extracted")
    if not isinstance(found, str) or not found.strip():
        return None
    return "right" if judgement.outcome == "passed" else f"wrong: {' '.join(found.split())[:200]}"
