"""The protocol of backends: a stream of requests in, a stream of completions out, in whatever order they are done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

from suites.problem import Prompt
from suites.sampling import Sampling


@dataclass(frozen=True, slots=True)
class Request:
    """One completion wanted.

    Attributes:
        key: Content hash of what is asked (see `mellum_eval.plan`).
        suite: Name of the suite as the run has it.
        problem: The problem's id.
        sample: Number of the completion, from 0.
        prompt: What the model sees.
        sampling: How to draw; `seed` is this sample's own, and this turn's.
        turn: Number of the model's turn in this sample's conversation, from 0.
        gold: The right answer, or this turn's part of it, for mock backends only.
        gold_calls: The structured calls of that turn.
    """

    key: str
    suite: str
    problem: str
    sample: int
    prompt: Prompt
    sampling: Sampling
    turn: int = 0
    gold: str | None = None
    gold_calls: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model answered.

    Attributes:
        text: The raw text, reasoning included where the model put it there.
        reasoning: Reasoning that the server split off; None where it did not.
        tool_calls: Structured calls, {"name", "arguments"}; arguments are an object, or the raw string if no JSON.
        finish: stop, length or tool_calls.
        tokens: Counts: prompt, completion, reasoning; as far as known.
        latency_s: Seconds from sending to the last token.
        loglikelihoods: Sum of the tokens' log-probabilities for each of the prompt's choices, if it has any.
        greedy: Whether each of the choices is what greedy decoding gives; empty where the model does not say.
    """

    text: str
    reasoning: str | None = None
    tool_calls: Sequence[Mapping[str, Any]] = ()
    finish: str = "stop"
    tokens: Mapping[str, int] = field(default_factory=dict)
    latency_s: float = 0.0
    loglikelihoods: Sequence[float] = ()
    greedy: Sequence[bool] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """There is no completion, and it is not the model's fault."""

    message: str


Reply: TypeAlias = tuple[Request, Completion | Failure]


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """What a backend is.

    Attributes:
        name: For tables: short, without paths or addresses.
        chat: Whether it takes messages; else plain text to be continued.
        identity: For the manifest, as far as known: scheme, name, sha256 of weights and chat template, parameters.
        loglikelihood: Whether it can rank given continuations.
        notices: What the user should know of it before a run.
        context: Tokens that a prompt and its answer may have together; None where nobody says.
        tool_notices: What the user should know besides, where a run offers tools.
    """

    name: str
    chat: bool
    identity: Mapping[str, Any]
    loglikelihood: bool = True
    notices: tuple[str, ...] = ()
    context: int | None = None
    tool_notices: tuple[str, ...] = ()


class Backend(Protocol):
    """A model that answers."""

    @property
    def info(self) -> BackendInfo:
        """What it is; known once it is open."""
        ...

    def generate(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        """Complete prompts, in any order. Takes no more requests than it works on: the reader sets the pace.

        A request may be the next turn of a conversation, and come only after the reply to the turn before: whoever
        waits for one while replies are under way waits for ever (`Incoming` knows how not to).

        Raises:
            PrerequisiteMissing: The model went away for good.
        """
        ...

    def loglikelihood(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        """Rank the prompts' choices: the reply's text is the letter of the likeliest (A for the first)."""
        ...

    async def aclose(self) -> None:
        """Let go of the model; what is being generated is dropped."""
        ...


@runtime_checkable
class CountsTokens(Protocol):
    """A backend with a tokenizer at hand, by which prompts are made to a length."""

    async def count_tokens(self, text: str) -> int | None:
        """Tokens of a text, without special ones; None where it turns out that there is no tokenizer."""
        ...


class Incoming:
    """A stream of requests that pauses: what is at hand can be taken without waiting for what is not."""

    def __init__(self, requests: AsyncIterator[Request]) -> None:
        self._requests = requests
        self._fetch: asyncio.Task[Request | None] | None = None
        self.exhausted = False

    def fetch(self) -> asyncio.Task[Request | None]:
        """The next request on its way, to be awaited beside other things; `take` it when it is done."""
        if self._fetch is None:
            self._fetch = asyncio.create_task(_next(self._requests))
        return self._fetch

    async def take(self) -> Request | None:
        """The next request, however long it takes; None once there are no more."""
        if self.exhausted:
            return None
        request = await self.fetch()
        self._fetch = None
        self.exhausted = request is None
        return request

    async def at_hand(self, patience_s: float = 0.0) -> Request | None:
        """The next request if it comes before patience ends, else None."""
        if self.exhausted:
            return None
        fetch = self.fetch()
        if not fetch.done():
            await asyncio.sleep(0)  # one that waits for nothing is there after one turn of the event loop
        if not fetch.done() and patience_s:
            await asyncio.wait((fetch,), timeout=patience_s)
        return await self.take() if fetch.done() else None

    def close(self) -> None:
        """Ask for no more."""
        if self._fetch is not None:
            self._fetch.cancel()


async def _next(requests: AsyncIterator[Request]) -> Request | None:
    try:
        return await anext(requests)
    except StopAsyncIteration:
        return None


async def concurrently(
    requests: AsyncIterator[Request], limit: int, answer: Callable[[Request], Awaitable[Completion | Failure]]
) -> AsyncGenerator[Reply, None]:
    """Answer each request by its own coroutine, at most `limit` at a time, replies as they come."""

    async def one(request: Request) -> Reply:
        return request, await answer(request)

    incoming = Incoming(requests)
    running: set[asyncio.Task[Reply]] = set()
    try:
        while True:
            while len(running) < limit and (request := await incoming.at_hand()) is not None:
                running.add(asyncio.create_task(one(request)))
            wants_more = not incoming.exhausted and len(running) < limit
            if not running and not wants_more:
                return
            awaited: set[asyncio.Task[Any]] = {*running, incoming.fetch()} if wants_more else {*running}
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            done = {task for task in running if task.done()}
            running -= done
            # What came back is kept even where a neighbour brings bad news.
            for task in sorted(done, key=lambda task: task.exception() is not None):
                yield task.result()
    finally:
        incoming.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def best_choice(loglikelihoods: Sequence[float]) -> str:
    """The letter of the likeliest choice; the first of equals."""
    return chr(ord("A") + max(range(len(loglikelihoods)), key=loglikelihoods.__getitem__))
