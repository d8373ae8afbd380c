"""What is owed is asked for: requests into the backend, records of what came back out of it.

A problem of several turns is asked turn by turn. The request of a turn exists only once the turn before was answered
and run, so the stream of requests pauses where nothing else is owed, and ends when the last conversation has.
Follow-ups go first: conversations end before others begin. Where running the model's turns is the slower half, no new
problems are asked until it has caught up. What follows a prerequisite conversation is asked once that has ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mellum_eval.backends.base import Backend, Completion, Failure, Request
from mellum_eval.dialogue import Dialogue, gold_turn
from mellum_eval.plan import PlannedSuite, prompt_record, seed_of
from mellum_eval.prerequisites import Opening, Prerequisites
from mellum_eval.records import Generation
from mellum_eval.store import Slot
from sandboxes.check import Answer
from sandboxes.sandbox import Sandbox
from suites.problem import Problem, Prompt

STEPPING = 64
"""Turns that are being run, or wait for it, at most, before new problems are held back."""


class Asking:
    """One pass over a plan."""

    def __init__(
        self,
        planned: Sequence[PlannedSuite],
        answered: Callable[[Slot], bool],
        *,
        sandbox: Sandbox | None,
        checked: Callable[[Request], Awaitable[Problem]],
        keep: Callable[[Generation], Awaitable[None]],
        ended: Mapping[Slot, Answer],
    ) -> None:
        """Prepare to ask.

        Args:
            planned: What to ask.
            answered: Whether a slot need not be asked.
            sandbox: Where conversations run what the model wrote.
            checked: The problem of a request, with the check that judges.
            keep: Takes each record, once; the reader is held up while it does.
            ended: Answers of the prerequisites that were held before.
        """
        self._planned, self._answered = planned, answered
        self._suites = {suite.name: suite for suite in planned}
        self._sandbox, self._checked, self._keep, self._ended = sandbox, checked, keep, ended
        self._prerequisites: Prerequisites | None = None
        self._begun: dict[Slot, Problem] = {}
        self._chat = True
        self._dialogues: dict[Slot, Dialogue] = {}
        self._follow_ups: deque[Request] = deque()
        self._open = self._stepping = 0
        self._news = asyncio.Event()

    async def ask(self, backend: Backend, *, ranked: bool) -> None:
        """Ask for all that is owed, of problems that are ranked or of those that are generated.

        Raises:
            BaseExceptionGroup: Whatever the backend or `keep` raised, in a group.
        """
        self._chat = backend.info.chat
        if not ranked:
            self._prerequisites = Prerequisites(self._planned, self._answered, self._ended)
            self._open += self._prerequisites.waiting
        requests = self._requests(ranked=ranked)
        stream = backend.loglikelihood(requests) if ranked else backend.generate(requests)
        try:
            async with asyncio.TaskGroup() as group:
                async for request, reply in stream:
                    if self._converses(request):
                        self._stepping += 1
                        group.create_task(self._advance(request, reply))
                    else:
                        await self._keep(_record(request, reply))
        finally:
            await stream.aclose()
            for dialogue in self._dialogues.values():
                await dialogue.aclose()
            self._dialogues.clear()

    def _converses(self, request: Request) -> bool:
        return self._suites[request.suite].suite.converses() and not request.prompt.choices

    async def _requests(self, *, ranked: bool) -> AsyncIterator[Request]:
        fresh = self._fresh(ranked=ranked)
        exhausted = False
        while True:
            if self._follow_ups:
                yield self._follow_ups.popleft()
                continue
            if not exhausted and self._stepping < STEPPING:
                request = next(fresh, None)
                if request is not None:
                    self._open += self._converses(request)
                    yield request
                    continue
                exhausted = True
            if exhausted and not self._open:
                return
            self._news.clear()
            await self._news.wait()

    def _fresh(self, *, ranked: bool) -> Iterator[Request]:
        for opening in self._prerequisites.ready if self._prerequisites is not None else ():
            yield self._opened(opening)
        for planned in self._planned:
            for question, sample in planned.slots():
                follows = question.problem.follows is not None
                if follows or self._answered((question.key, sample)) or bool(question.prompt.choices) is not ranked:
                    continue
                yield _first_request(Opening(planned, question, sample, question.problem), question.prompt)

    def _opened(self, opening: Opening) -> Request:
        self._begun[opening.slot] = opening.problem
        return _first_request(opening, opening.planned.suite.render(opening.problem, chat=self._chat))

    async def _advance(self, request: Request, reply: Completion | Failure) -> None:
        slot = (request.key, request.sample)
        try:
            dialogue = self._dialogues.get(slot) or await self._begin(request)
            if dialogue is None:
                following: Request | Generation = _record(request, reply)
            else:
                following = await dialogue.take(reply)
            if isinstance(following, Request):
                self._follow_ups.append(following)
                return
            if dialogue is not None:
                del self._dialogues[slot]
                await dialogue.aclose()
            await self._end(following)
        finally:
            self._stepping -= 1
            self._news.set()

    async def _end(self, generation: Generation) -> None:
        await self._keep(generation)
        self._open -= 1
        if self._prerequisites is None:
            return
        if generation.finish != "error":
            self._follow_ups.extend(self._opened(o) for o in self._prerequisites.release(generation))
            return
        for opening, why in self._prerequisites.fail(generation):
            request = _first_request(opening, opening.question.prompt)
            await self._end(_record(request, Failure(why)))

    async def _begin(self, request: Request) -> Dialogue | None:
        planned = self._suites[request.suite]
        problem = self._begun.pop((request.key, request.sample), None) or await self._checked(request)
        conversation = planned.suite.converse(problem, self._sandbox)
        if conversation is None:
            return None
        dialogue = Dialogue(planned.suite, problem, conversation, request, planned.sampling)
        self._dialogues[request.key, request.sample] = dialogue
        return dialogue


def _first_request(opening: Opening, prompt: Prompt) -> Request:
    planned, problem, sample = opening.planned, opening.problem, opening.sample
    gold, calls = gold_turn(planned.suite, problem, 0)
    return Request(
        key=opening.question.key,
        suite=planned.name,
        problem=problem.id,
        sample=sample,
        prompt=prompt,
        sampling=replace(planned.sampling, seed=seed_of(planned.sampling, problem.id, sample)),
        gold=gold,
        gold_calls=calls,
    )


def _record(request: Request, reply: Completion | Failure) -> Generation:
    common: dict[str, Any] = {
        "key": request.key,
        "suite": request.suite,
        "problem": request.problem,
        "sample": request.sample,
        "prompt": prompt_record(request.prompt),
    }
    if isinstance(reply, Failure):
        return Generation(**common, text="", finish="error", error=reply.message)
    return Generation(
        **common,
        text=reply.text,
        reasoning=reply.reasoning,
        tool_calls=[dict(call) for call in reply.tool_calls],
        finish=reply.finish,
        tokens=dict(reply.tokens),
        latency_s=round(reply.latency_s, 6),
        loglikelihoods=list(reply.loglikelihoods),
        greedy=list(reply.greedy),
    )
