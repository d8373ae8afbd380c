"""Every answer of some runs, found by run, suite, outcome and words: what the samples viewer asks.

Only where each answer begins in its file is kept, so a hundred thousand take megabytes; words are looked for in the
files themselves, a line at a time, at the speed of reading them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mellum_eval import jsonl
from mellum_eval.errors import UserError
from mellum_eval.store import RunStore
from mellum_eval.terminal import printable
from reports.run import Notice, Run
from reports.samples import sample_data

_FIELD = 200_000
"""Characters of one text at most: a page of one answer may be long, but it must open."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One judged answer; names are as they are shown, with invisible characters as escapes.

    Attributes:
        run: Number of its run in the index.
        suite: Name.
        problem: Name.
        sample: Number.
        outcome: Of its verdict.
        score: None where it could not be judged.
        verdict: Where its verdict begins, in bytes.
        generation: Where its completion begins, in bytes; None where there is none on record.
    """

    run: int
    suite: str
    problem: str
    sample: int
    outcome: str
    score: float | None
    verdict: int
    generation: int | None


@dataclass(frozen=True, slots=True)
class Question:
    """What to find; empty fields ask for nothing."""

    run: str = ""
    suite: str = ""
    outcome: str = ""
    text: str = ""
    """Words as they stand in prompt, answer, reasoning, message or evidence; ASCII letters match in either case."""


class SampleIndex:
    """The answers of some runs."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.labels = [printable(run.label) for run in runs]
        self.notices: list[Notice] = []
        self._stores = [RunStore.open(run.path) for run in runs]
        self.entries: list[Entry] = []
        for number, store in enumerate(self._stores):
            try:
                self.entries.extend(_entries(number, store))
            except UserError as error:
                self.notices.append(Notice(f"{error}; its answers are not all shown", bad=True))
        self.suites = sorted({entry.suite for entry in self.entries})
        self.outcomes = sorted({entry.outcome for entry in self.entries})

    def find(self, question: Question) -> list[int]:
        """Numbers of the entries that answer a question, in order.

        Raises:
            UserError: A run's files cannot be read any more.
        """
        found = [
            number
            for number, entry in enumerate(self.entries)
            if (not question.run or self.labels[entry.run] == question.run)
            and (not question.suite or entry.suite == question.suite)
            and (not question.outcome or entry.outcome == question.outcome)
        ]
        return self._with_text(found, question.text) if question.text else found

    def sample(self, number: int) -> dict[str, Any]:
        """One answer in full, as data.

        Raises:
            UserError: The run's files were altered since they were indexed.
        """
        entry = self.entries[number]
        store = self._stores[entry.run]
        if entry.generation is None:
            raise UserError(f"{store.path}: {entry.problem}, sample {entry.sample}: its completion is not on record")
        return sample_data(store.generation_at(entry.generation), store.judgement_at(entry.verdict), _FIELD)

    def _with_text(self, numbers: Sequence[int], text: str) -> list[int]:
        # As the files have it: escaped, in ASCII.
        needle = json.dumps(text)[1:-1].lower().encode("ascii")
        hits: set[int] = set()
        for run in sorted({self.entries[number].run for number in numbers}):
            mine = [number for number in numbers if self.entries[number].run == run]
            for name, where in (
                ("generations.jsonl", {self.entries[n].generation: n for n in mine}),
                ("verdicts.jsonl", {self.entries[n].verdict: n for n in mine}),
            ):
                for _, offset, line in jsonl.raw(self._stores[run].path / name):
                    if offset in where and needle in line.lower():
                        hits.add(where[offset])
        return [number for number in numbers if number in hits]


def _entries(number: int, store: RunStore) -> Iterator[Entry]:
    generations, verdicts = store.generation_offsets(), store.judgement_offsets()
    for judgement in store.judgements():
        slot = (judgement.key, judgement.sample)
        if slot in verdicts:
            yield Entry(
                number,
                printable(judgement.suite),
                printable(judgement.problem),
                judgement.sample,
                printable(judgement.outcome),
                judgement.score,
                verdicts[slot],
                generations.get(slot),
            )
