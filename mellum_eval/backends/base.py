"""The protocol of backends: a stream of requests in, a stream of completions out, in whatever order they are done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

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
        sampling: How to draw; `seed` is this sample's own.
        gold: The right answer, for mock backends only.
    """

    key: str
    suite: str
    problem: str
    sample: int
    prompt: Prompt
    sampling: Sampling
    gold: str | None = None


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
    """

    text: str
    reasoning: str | None = None
    tool_calls: Sequence[Mapping[str, Any]] = ()
    finish: str = "stop"
    tokens: Mapping[str, int] = field(default_factory=dict)
    latency_s: float = 0.0
    loglikelihoods: Sequence[float] = ()


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
    """

    name: str
    chat: bool
    identity: Mapping[str, Any]
    loglikelihood: bool = True


class Backend(Protocol):
    """A model that answers."""

    @property
    def info(self) -> BackendInfo:
        """What it is; known once it is open."""
        ...

    def generate(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        """Complete prompts, in any order. Takes no more requests than it works on: the reader sets the pace.

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


async def concurrently(
    requests: AsyncIterator[Request], limit: int, answer: Callable[[Request], Awaitable[Completion | Failure]]
) -> AsyncGenerator[Reply, None]:
    """Answer each request by its own coroutine, at most `limit` at a time, replies as they come."""

    async def one(request: Request) -> Reply:
        return request, await answer(request)

    running: set[asyncio.Task[Reply]] = set()
    exhausted = False
    try:
        while True:
            while not exhausted and len(running) < limit:
                try:
                    running.add(asyncio.create_task(one(await anext(requests))))
                except StopAsyncIteration:
                    exhausted = True
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            # What came back is kept even where a neighbour brings bad news.
            for task in sorted(done, key=lambda task: task.exception() is not None):
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def best_choice(loglikelihoods: Sequence[float]) -> str:
    """The letter of the likeliest choice; the first of equals."""
    return chr(ord("A") + max(range(len(loglikelihoods)), key=loglikelihoods.__getitem__))
