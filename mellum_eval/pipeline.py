"""One run: completions stream out of the backend while those before them are being judged.

The wall time is that of the slower half, not the sum. A bounded queue lies between the halves: where judging is the
slower one, the backend is asked for no more than the queue takes. What a completed step gave is on disk before the
next one starts, so a run may be killed at any moment; what is in flight then is asked for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Protocol

from mellum_eval.asking import Asking
from mellum_eval.backends.base import Backend, Request
from mellum_eval.errors import PrerequisiteMissing
from mellum_eval.longest_first import LongestFirst
from mellum_eval.plan import PlannedSuite
from mellum_eval.records import Generation, Judgement, Scores
from mellum_eval.scoring import score_run
from mellum_eval.spans import Spans
from mellum_eval.store import RunStore, Slot
from mellum_eval.tally import Tally
from sandboxes.check import RANKED_KINDS, Answer, Check
from sandboxes.errors import SandboxError
from sandboxes.sandbox import Sandbox
from sandboxes.verdict import Verdict, infra_error
from suites.problem import Problem
from suites.suite import Suite

QUEUED = 256
"""Completions that wait to be judged, at most: enough to find the long jobs among them, and memory stays flat."""
INFRA_TRIES = 3
INFRA_PAUSE_S = 0.5


class Judge(Protocol):
    """Whatever judges an answer to a check: in earnest `sandboxes.verify.Verifiers`."""

    async def verify(self, check: Check, answer: Answer) -> Verdict:
        """The verdict; never raises for what the answer is or does."""
        ...


class Watcher:
    """Is told how a run goes on; this one does not care."""

    def generated(self, suite: str, generation: Generation) -> None:
        """A completion, or a failure to get one, was stored."""

    def judged(self, suite: str, judgement: Judgement) -> None:
        """A verdict was stored."""


class Pipeline:
    """Everything a run needs once it has been planned."""

    def __init__(
        self,
        planned: Sequence[PlannedSuite],
        store: RunStore,
        judge: Judge,
        sandbox: Sandbox | None,
        *,
        width: int,
        watcher: Watcher | None = None,
    ) -> None:
        """Look at what the run directory has already.

        Args:
            planned: What to ask and to judge.
            store: Open for writing.
            judge: Judges answers.
            sandbox: For suites that compute their checks in it; None where none is needed.
            width: Answers judged at the same time.
            watcher: Is told of every record.
        """
        self._planned = planned
        self._store = store
        self._judge = judge
        self._sandbox = sandbox
        self._width = width
        self._watcher = watcher or Watcher()
        self._suites = {suite.name: suite for suite in planned}
        self._questions = {question.key: question for suite in planned for question in suite.questions}
        self._prerequisites = {question.key for suite in planned for question in suite.prerequisites}
        self._ended: dict[Slot, Answer] = {}
        self.tally = Tally(planned)
        for judgement in store.judgements():
            self.tally.add(judgement)
        self.spans = Spans()
        self._checked: dict[str, asyncio.Task[Mapping[str, Problem]]] = {}

    async def run(self, backend: Backend) -> Scores:
        """Ask for what is missing, judge what is unjudged, score all.

        A verdict that was nobody's (`infra_error`) and a completion that failed are owed again.

        Raises:
            PrerequisiteMissing: The model or the sandbox went away; what was done is kept.
            UserError: The directory cannot be written any more.
        """
        unjudged: set[Slot] = set()
        for generation in self._store.generations():
            slot = (generation.key, generation.sample)
            if generation.finish == "error":
                continue
            self.tally.answered(slot, _usage(generation))
            if generation.key in self._prerequisites:
                if generation.answer is not None:
                    self._ended[slot] = generation.answer
            elif not self.tally.is_judged(slot):
                unjudged.add(slot)
        queue: LongestFirst[Generation] = LongestFirst(max(QUEUED, 4 * self._width), self._allowance)
        try:
            async with asyncio.TaskGroup() as group:
                self._start_checks(group)
                group.create_task(self._fill(backend, unjudged, queue))
                for _ in range(self._width):
                    group.create_task(self._work(queue))
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        finally:
            self.spans.end()
            scores = self._write_scores()
        return scores

    async def rescore(self) -> tuple[Scores, list[Judgement]]:
        """Judge all stored completions anew; nothing is written. Failed ones stay what they were."""
        made: list[Judgement] = []
        tally = Tally(self._planned)
        queue: LongestFirst[Generation] = LongestFirst(max(QUEUED, 4 * self._width), self._allowance)

        async def fill() -> None:
            for generation in self._store.generations():
                if generation.key not in self._questions:
                    continue
                if generation.finish != "error":
                    tally.answered((generation.key, generation.sample), _usage(generation))
                await queue.put(generation)
            await queue.put(None)

        async def work() -> None:
            while (generation := await queue.get()) is not None:
                made.append(await self._judged(generation))
                self._watcher.judged(generation.suite, made[-1])
            await queue.put(None)

        try:
            async with asyncio.TaskGroup() as group:
                self._start_checks(group)
                group.create_task(fill())
                for _ in range(self._width):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        order = {(q.key, s): i for i, (q, s) in enumerate(slot for suite in self._planned for slot in suite.slots())}
        made.sort(key=lambda judgement: order.get((judgement.key, judgement.sample), len(order)))
        for judgement in made:
            tally.add(judgement)
        return score_run(self._planned, tally), made

    # -- asking ---------------------------------------------------------------------------------------------------

    async def _fill(self, backend: Backend, unjudged: set[Slot], queue: LongestFirst[Generation]) -> None:
        if unjudged:
            for generation in self._store.generations():
                if (generation.key, generation.sample) in unjudged:
                    await queue.put(generation)

        async def keep(generation: Generation) -> None:
            self._store.add_generation(generation)
            if generation.finish != "error":
                self.tally.answered((generation.key, generation.sample), _usage(generation))
            if generation.key in self._prerequisites:
                return  # nobody's verdict waits for it
            self._watcher.generated(generation.suite, generation)
            with self.spans.held_up():
                await queue.put(generation)

        async def checked(request: Request) -> Problem:
            return (await self._checked[self._suites[request.suite].suite.full_name])[request.problem]

        for ranked in (False, True):
            asking = Asking(
                self._planned,
                self.tally.is_answered,
                sandbox=self._sandbox,
                checked=checked,
                keep=keep,
                ended=self._ended,
            )
            await asking.ask(backend, ranked=ranked)
        self.spans.generated()
        await queue.put(None)

    # -- judging --------------------------------------------------------------------------------------------------

    def _allowance(self, generation: Generation) -> float:
        """CPU seconds that judging this completion may take."""
        question = self._questions.get(generation.key)
        return 0.0 if question is None else question.problem.check.limits.cpu_s

    async def _work(self, queue: LongestFirst[Generation]) -> None:
        while (generation := await queue.get()) is not None:
            if generation.key not in self._questions:
                continue
            with self.spans.judging():
                judgement = await self._judged(generation)
            self._store.add_judgement(judgement)
            self.tally.add(judgement)
            self._watcher.judged(generation.suite, judgement)
        await queue.put(None)

    async def _judged(self, generation: Generation) -> Judgement:
        planned = self._suites[generation.suite]
        if generation.finish == "error":
            verdict = infra_error(f"no completion: {generation.error}")
            problem = self._questions[generation.key].problem
        elif planned.suite.tokens() is not None and _never_read(generation):
            # How long prompts may be is what such a suite measures by its variants; 0 would say that it was asked.
            verdict = infra_error("the prompt is longer than the model's context; tell it by --context N")
            problem = self._questions[generation.key].problem
        else:
            problem = (await self._checked[planned.suite.full_name])[generation.problem]
            verdict = await self._verdict(planned.suite, problem, generation)
        return _judgement(generation, problem, verdict)

    async def _verdict(self, suite: Suite, problem: Problem, generation: Generation) -> Verdict:
        try:
            answer: Answer
            if generation.answer is not None:  # what a conversation ended with
                answer = generation.answer
            elif generation.loglikelihoods and problem.check.kind in RANKED_KINDS:
                answer = suite.ranked(problem, generation.loglikelihoods, generation.greedy)
            else:
                answer = suite.answer(problem, generation.text, generation.tool_calls)
        except Exception as error:
            # A suite's own defect must not end the run, and must not be the model's zero either.
            return infra_error(f"{suite.full_name}: answer() raised {type(error).__name__}: {error}")
        for attempt in range(INFRA_TRIES):
            if attempt:
                await asyncio.sleep(INFRA_PAUSE_S * 4 ** (attempt - 1))
            verdict = await self._judge.verify(problem.check, answer)
            if verdict.score is not None:
                break
        return verdict

    def _start_checks(self, group: asyncio.TaskGroup) -> None:
        for planned in self._planned:
            name = planned.suite.full_name
            if name not in self._checked:
                self._checked[name] = group.create_task(self._checks(planned))

    async def _checks(self, planned: PlannedSuite) -> Mapping[str, Problem]:
        if not computes_checks(planned.suite) or self._sandbox is None:
            return {question.problem.id: question.problem for question in planned.questions}
        wanted = {question.problem.id for question in planned.questions}
        try:
            problems = await planned.suite.prepare(self._sandbox, wanted=wanted)
        except SandboxError as error:
            raise PrerequisiteMissing(
                f"{planned.name}: its reference solutions could not be run ({error})",
                "see `mellum-eval sandbox status`, and continue with --resume",
            ) from error
        return {problem.id: problem for problem in problems}

    # -- scores ---------------------------------------------------------------------------------------------------

    def _write_scores(self) -> Scores:
        scores = score_run(self._planned, self.tally)
        self._store.write_scores(scores)
        return scores


def computes_checks(suite: Suite) -> bool:
    """Whether a suite makes its checks in the sandbox, before anything of it can be judged."""
    return type(suite).prepare is not Suite.prepare


def _judgement(generation: Generation, problem: Problem, verdict: Verdict) -> Judgement:
    # Not dataclasses.asdict: its deep copies were a quarter of the harness's own time.
    taken = {field.name: getattr(verdict, field.name) for field in fields(verdict)}
    return Judgement(
        key=generation.key,
        suite=generation.suite,
        problem=generation.problem,
        sample=generation.sample,
        cluster=problem.cluster,
        **{
            **taken,
            "outcome": str(verdict.outcome),
            "parts": dict(verdict.parts),
            "evidence": dict(verdict.evidence),
        },
    )


def _never_read(generation: Generation) -> bool:
    """Whether the model was given no room for one token: what backends say of prompts that do not fit."""
    return generation.finish == "length" and not generation.text and not generation.tokens.get("completion")


def _usage(generation: Generation) -> dict[str, int]:
    ends = [turn.finish for turn in generation.turns] or [generation.finish]
    return {**generation.tokens, "truncated": int("length" in ends)}


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The exception that ended a group of tasks: the first real one, were it nested."""
    for error in errors.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    return errors
