"""`native:PATH`: this repository's own model, in this process, batched continuously.

The model's room is not imported here: the command line hands in what is needed of it (`NativeModel`). Requests join the
batch as others finish, so a long answer holds nobody up; a request's answer does not depend on its company, because
each draws from a generator of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

from mellum_eval.backends.base import BackendInfo, Completion, Failure, Incoming, Reply, Request, best_choice
from mellum_eval.backends.hf_ranking import begun, shared_prefix, windows
from mellum_eval.backends.thinking import counted, opened, reopened
from mellum_eval.errors import UserError
from suites.problem import Prompt
from suites.sampling import Sampling

RANKED_AT_ONCE = 64
FAILED_STEPS_TO_GIVE_UP = 3


@dataclass(frozen=True, slots=True)
class Finished:
    """One answer of an engine."""

    index: int
    text: str
    finish: str
    tokens: int


class NativeEngine(Protocol):
    """Continuous batching over one model."""

    @property
    def busy(self) -> bool:
        """Whether anything is left to do."""
        ...

    def submit(self, ids: Sequence[int], sampling: Sampling, stop: tuple[str, ...]) -> int:
        """Queue a prompt; its number."""
        ...

    def step(self) -> list[Finished]:
        """Work for one token a row; what has finished."""
        ...


class NativeModel(Protocol):
    """A loaded model and tokenizer."""

    @property
    def info(self) -> BackendInfo:
        """What it is."""
        ...

    @property
    def limit(self) -> int:
        """Tokens of its context."""
        ...

    @property
    def beginning(self) -> int | None:
        """The token that a text begins with, or ends with where it has none of those; None where it has neither."""
        ...

    def render(self, prompt: Prompt) -> str:
        """The text that the model reads."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of a text."""
        ...

    def engine(self) -> NativeEngine:
        """A fresh engine."""
        ...

    def loglikelihood(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[tuple[float, bool]]:
        """Log-probabilities of continuations after their contexts, and whether they are the greedy ones."""
        ...


@dataclass(frozen=True, slots=True)
class _Running:
    request: Request
    prompt_tokens: int
    start: float
    thinking: bool
    """Whether the prompt ended inside reasoning."""


class NativeBackend:
    """One model on one device, driven by one thread."""

    def __init__(self, model: NativeModel, *, batch_size: int) -> None:
        """Wrap a loaded model.

        Args:
            model: What answers.
            batch_size: Rows of its engine; as many again are kept waiting, so that no row idles.
        """
        self._model = model
        self._in_flight = 2 * batch_size
        self._thread = ThreadPoolExecutor(1, "native")

    @property
    def info(self) -> BackendInfo:
        """What it is."""
        return self._model.info

    async def count_tokens(self, text: str) -> int:
        """By the model's tokenizer."""
        return len(self._model.encode(text))

    async def generate(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        """Complete prompts, in the order in which they finish."""
        loop = asyncio.get_running_loop()
        engine = self._model.engine()
        running: dict[int, _Running] = {}
        incoming = Incoming(requests)
        failures = 0
        try:
            while True:
                while len(running) < self._in_flight:
                    # A request at hand is taken; one that is not holds no token up.
                    request = await (incoming.at_hand() if engine.busy else incoming.take())
                    if request is None:
                        break
                    reply = await loop.run_in_executor(self._thread, self._submit, engine, running, request)
                    if reply is not None:
                        yield request, reply
                if not engine.busy:
                    if incoming.exhausted:
                        return
                    continue
                try:
                    news = await loop.run_in_executor(self._thread, engine.step)
                except RuntimeError as error:  # torch's, such as memory that is used up
                    failures += 1
                    if failures >= FAILED_STEPS_TO_GIVE_UP:
                        raise UserError(f"{self.info.name} fails at every step ({error})") from error
                    for request in [one.request for one in running.values()]:
                        yield request, Failure(f"{type(error).__name__}: {str(error)[:300]}")
                    running.clear()
                    engine = self._model.engine()
                    continue
                failures = 0
                for done in news:
                    one = running.pop(done.index)
                    yield one.request, self._completion(one, done)
        finally:
            incoming.close()

    def _submit(
        self, engine: NativeEngine, running: dict[int, _Running], request: Request
    ) -> Completion | Failure | None:
        """Queue a request; a reply where there is nothing to wait for."""
        try:
            rendered = self._model.render(request.prompt)
            ids = self._model.encode(rendered)
            if len(ids) >= self._model.limit:
                # A prompt beyond the model's context has no answer; that is the model's limit and no failure of ours.
                return Completion("", finish="length", tokens={"prompt": len(ids)})
            number = engine.submit(ids, request.sampling, request.prompt.stop)
        except ValueError as error:
            return Failure(str(error))
        thinking = self.info.chat and opened(rendered)
        running[number] = _Running(request, len(ids), time.monotonic(), thinking)
        return None

    def _completion(self, one: _Running, done: Finished) -> Completion:
        text = reopened(done.text) if one.thinking else done.text
        tokens = {"prompt": one.prompt_tokens, "completion": done.tokens}
        tokens = counted(tokens, text, None, lambda thought: len(self._model.encode(thought)))
        return Completion(text, finish=done.finish, tokens=tokens, latency_s=time.monotonic() - one.start)

    async def loglikelihood(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        """Rank the prompts' choices."""
        loop = asyncio.get_running_loop()
        incoming = Incoming(requests)
        while True:
            window: list[Request] = []
            while len(window) < RANKED_AT_ONCE and (request := await incoming.take()) is not None:
                window.append(request)
            if not window:
                return
            start = time.monotonic()
            try:
                replies = await loop.run_in_executor(self._thread, self._rank, window)
            except ValueError as error:
                for request in window:
                    yield request, Failure(str(error))
                continue
            seconds = time.monotonic() - start
            for request, completion in zip(window, replies, strict=True):
                yield request, replace(completion, latency_s=seconds)

    def _rank(self, window: Sequence[Request]) -> list[Completion]:
        pairs: list[tuple[Sequence[int], Sequence[int]]] = []
        parts: list[int] = []
        lengths: list[int] = []
        for request in window:
            ranked = request.prompt.ranked(self._model.render(request.prompt))
            starts = {context: self._model.encode(context) for context, _ in ranked}
            lengths.append(max(map(len, starts.values())))
            for context, choice in ranked:
                whole = begun(starts[context], self._model.encode(context + choice), self._model.beginning)
                shared = shared_prefix(starts[context], whole)
                pieces = list(windows(whole, shared, self._model.limit))
                pairs += [(given[: len(given) - len(span) + 1], span) for given, span in pieces]
                parts.append(len(pieces))
        values = iter(self._model.loglikelihood(pairs))
        counts = iter(parts)
        found = []
        for request, length in zip(window, lengths, strict=True):
            own = [[next(values) for _ in range(next(counts))] for _ in request.prompt.choices]
            sums = tuple(sum(value for value, _ in pieces) for pieces in own)
            greedy = tuple(all(best for _, best in pieces) for pieces in own)
            tokens = {"prompt": length, "completion": 0}
            found.append(Completion(best_choice(sums), tokens=tokens, loglikelihoods=sums, greedy=greedy))
        return found

    async def aclose(self) -> None:
        """Let the step that is running end."""
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)


def messages_of(prompt: Prompt) -> list[Mapping[str, Any]]:
    """A prompt's turns as chat templates take them."""
    turns: list[Mapping[str, Any]] = []
    for turn in prompt.messages:
        calls = [{"type": "function", "function": dict(call)} for call in turn.tool_calls]
        turns.append({"role": turn.role, "content": turn.content, **({"tool_calls": calls} if calls else {})})
    return turns
