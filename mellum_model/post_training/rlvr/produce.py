"""The thread that draws rollouts while others are judged and trained on.

It takes the weights of every step in turn. Weights of version v, those after step v, draw the batch of step
v + 1 + staleness (the first weights also those of all steps before it), so which weights drew what is the same in every
run, however fast each part is. Held-out tasks are asked between batches, by exactly the weights of their step.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, Queue
from typing import Literal

from .gather import Gathered
from .rollouts import Sampler, Weights


@dataclass(frozen=True, slots=True)
class Drawn:
    """A batch, or the held-out tasks, as they were drawn."""

    kind: Literal["batch", "validation"]
    step: int
    """That is trained with it; of the weights, for held-out tasks."""
    version: int
    """Of the weights that drew it."""
    gathered: Gathered
    idle: float
    """Seconds before it in which there were no weights to draw with."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is drawn when."""

    first: int
    """Steps that are done: the version of the first weights."""
    steps: int
    staleness: int
    validate_every: int
    validated: frozenset[int]
    """Versions whose held-out tasks were asked before a resume."""

    def validates(self, version: int) -> bool:
        """Whether held-out tasks are asked with these weights."""
        due = version % self.validate_every == 0 or version == self.steps
        return due and version not in self.validated

    def batches(self, version: int) -> range:
        """Steps whose batches these weights draw."""
        begin = version + 1 if version == self.first else version + 1 + self.staleness
        return range(begin, min(version + 1 + self.staleness, self.steps) + 1)


class Producer:
    """Draws batches in a thread, in order, for as long as weights come."""

    def __init__(
        self, sampler: Sampler, plan: Plan, batch: Callable[[int], Gathered], validation: Callable[[int], Gathered]
    ) -> None:
        """Start.

        Args:
            sampler: The thread's from now on.
            plan: What is drawn when.
            batch: Draws the batch of a step with the sampler's weights.
            validation: Asks the held-out tasks, given the version.
        """
        self._sampler, self._plan, self._batch, self._validation = sampler, plan, batch, validation
        self._weights: Queue[tuple[int, Weights]] = Queue()
        self._drawn: Queue[Drawn | BaseException] = Queue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rollouts", daemon=True)
        self._thread.start()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to end."""
        return self._stop.is_set()

    def push(self, version: int, weights: Weights) -> None:
        """Hand over the weights after step `version`."""
        self._weights.put((version, weights))

    def take(self) -> Drawn:
        """The next of what was drawn; raises what the thread raised."""
        found = self._drawn.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def close(self) -> None:
        """End the thread; what it is drawing is dropped."""
        self._stop.set()
        self._thread.join()
        self._sampler.close()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                begin = time.perf_counter()
                taken = self._next_weights()
                if taken is None:
                    return
                version, weights = taken
                self._sampler.load(weights)
                idle = time.perf_counter() - begin
                if self._plan.validates(version):
                    self._drawn.put(Drawn("validation", version, version, self._validation(version), idle))
                    idle = 0.0
                for step in self._plan.batches(version):
                    if self._stop.is_set():
                        return
                    self._drawn.put(Drawn("batch", step, version, self._batch(step), idle))
                    idle = 0.0
                if version == self._plan.steps:
                    return
        except BaseException as error:  # whatever it is, the training thread must not wait for ever
            self._drawn.put(error)

    def _next_weights(self) -> tuple[int, Weights] | None:
        while not self._stop.is_set():
            try:
                return self._weights.get(timeout=0.1)
            except Empty:
                continue
        return None
