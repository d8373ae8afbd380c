"""Problems that wait for a prerequisite conversation: which wait for which, and what is asked when one has ended.

A prerequisite is held once a sample, and only where some problem that follows it is still owed. What it ended with is
in the run directory, so that a run that goes on does not hold it again. Where it failed, all that follow it have:
they are owed again together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mellum_eval.plan import PlannedSuite, Question
from mellum_eval.records import Generation
from mellum_eval.store import Slot
from sandboxes.check import Answer
from suites.problem import Problem


@dataclass(frozen=True, slots=True)
class Opening:
    """One sample of a problem that can be asked now.

    Attributes:
        planned: Its suite.
        question: As it was planned.
        sample: Number of the completion.
        problem: As it is after what it follows.
    """

    planned: PlannedSuite
    question: Question
    sample: int
    problem: Problem

    @property
    def slot(self) -> Slot:
        """Where its completion belongs."""
        return self.question.key, self.sample


class Prerequisites:
    """What of a plan can begin, and what waits."""

    def __init__(
        self, planned: Sequence[PlannedSuite], answered: Callable[[Slot], bool], ended: Mapping[Slot, Answer]
    ) -> None:
        """Find out who waits for whom.

        Args:
            planned: What to ask.
            answered: Whether a slot need not be asked.
            ended: Answers of the prerequisites that were held before.
        """
        self._ended = ended
        self._waiting: dict[Slot, list[Opening]] = {}
        self.ready: list[Opening] = []
        """What can begin at once: prerequisites that follow none, and whatever follows one that has ended."""
        for suite in planned:
            first = {question.problem.id: question for question in suite.prerequisites}
            for question, sample in suite.slots() if first else ():
                if question.problem.follows is not None and not answered((question.key, sample)):
                    self._place(suite, question, sample, first)

    @property
    def waiting(self) -> int:
        """How many cannot begin yet."""
        return sum(map(len, self._waiting.values()))

    def release(self, generation: Generation) -> list[Opening]:
        """What can begin now that this one has ended."""
        answer = generation.answer
        waited = self._waiting.pop((generation.key, generation.sample), [])
        return [] if answer is None else [_after(opening, answer) for opening in waited]

    def fail(self, generation: Generation) -> Iterator[tuple[Opening, str]]:
        """What cannot begin now that this one has failed, and why: those that wait for it, and those for them."""
        waited = self._waiting.pop((generation.key, generation.sample), [])
        for opening in waited:
            yield opening, f"{generation.problem}, which comes before it, failed: {generation.error}"

    def _place(self, suite: PlannedSuite, question: Question, sample: int, first: Mapping[str, Question]) -> None:
        opening = Opening(suite, question, sample, question.problem)
        if question.problem.follows is None:
            self.ready.append(opening)
            return
        before = first[question.problem.follows]
        slot = (before.key, sample)
        if slot in self._ended:
            self.ready.append(_after(opening, self._ended[slot]))
        elif slot in self._waiting:
            self._waiting[slot].append(opening)
        else:
            self._waiting[slot] = [opening]
            self._place(suite, before, sample, first)


def _after(opening: Opening, answer: Answer) -> Opening:
    return Opening(opening.planned, opening.question, opening.sample, opening.problem.after(answer))
