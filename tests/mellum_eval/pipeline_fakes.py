"""Suites and a judge small enough to see through."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from typing import Any

import pytest

from mellum_eval.backends.base import Backend, BackendInfo, Completion, Failure, Reply, Request, concurrently
from mellum_eval.records import Manifest
from sandboxes.check import Answer, Check, ExactCheck
from sandboxes.sandbox import Sandbox
from sandboxes.verdict import Outcome, Verdict, infra_error
from suites import registry
from suites.problem import Problem
from suites.sampling import Sampling
from suites.suite import Suite


class Sums(Suite):
    """Twenty sums; gold is the number."""

    name = "sums"
    category = "math"
    version = "1"
    summary = "sums"
    variants = ("few",)

    def problems(self) -> Sequence[Problem]:
        return [
            Problem(f"sum/{n}", f"{n} + {n}?", ExactCheck(kind="exact", answer=str(2 * n)), str(2 * n), f"c{n % 5}")
            for n in range(3 if self.variant == "few" else 20)
        ]


class Late(Sums):
    """As sums, but the checks are made in the sandbox."""

    name = "late"
    metric = "pass@1"
    sampling = Sampling(temperature=0.5, samples=4)

    async def prepare(self, sandbox: Sandbox, *, wanted: Collection[str] | None = None) -> Sequence[Problem]:
        await asyncio.sleep(0.01)
        return self.problems()


class Scripted:
    """Answers with whatever `reply` returns or raises, each request after a while of its own."""

    info = BackendInfo("scripted", chat=True, identity={})

    def __init__(self, reply: Callable[[Request], Any], limit: int = 4) -> None:
        self.reply, self.limit = reply, limit
        self.asked: list[Request] = []

    def generate(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        return concurrently(requests, self.limit, self._one)

    loglikelihood = generate

    async def _one(self, request: Request) -> Completion | Failure:
        self.asked.append(request)
        await asyncio.sleep(random.random() / 500)
        reply = self.reply(request)
        if isinstance(reply, (Completion, Failure)):
            return reply
        return Completion(reply, tokens={"prompt": 10, "completion": 2}, latency_s=0.5)

    async def aclose(self) -> None:
        pass


class FakeJudge:
    """Compares strings; `hook` may answer first, or raise."""

    def __init__(self, hook: Callable[[Answer], Verdict | None] = lambda answer: None, delay_s: float = 0.0) -> None:
        self.seen: list[Answer] = []
        self.hook = hook
        self.delay_s = delay_s
        self.running = self.most = 0

    async def verify(self, check: Check, answer: Answer) -> Verdict:
        assert isinstance(check, ExactCheck)
        self.seen.append(answer)
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(self.delay_s)
        self.running -= 1
        forced = self.hook(answer)
        if forced is not None:
            return forced
        if not answer:
            return Verdict(Outcome.UNPARSED, 0.0)
        right = answer == check.answer
        return Verdict(Outcome.PASSED if right else Outcome.FAILED, float(right), parts={"half": right / 2})


def ours() -> Verdict:
    return infra_error("the engine went away")


SUITES = {"sums": Sums, "late": Late}


@pytest.fixture
def fake_suites(monkeypatch: pytest.MonkeyPatch) -> None:
    real = registry.get

    def get(name: str) -> Suite:
        head, _, variant = name.partition(":")
        return SUITES[head](variant or None) if head in SUITES else real(name)

    monkeypatch.setattr(registry, "expand", lambda names: tuple(names))
    monkeypatch.setattr(registry, "get", get)


def manifest(**kwargs: Any) -> Manifest:
    fields: dict[str, Any] = {"command": [], "spec": {}, "model": {}, "suites": [], "seeds": {}, "sandbox": {}}
    return Manifest(**{**fields, "created": "2026-01-01T00:00:00Z", "versions": {}, "host": {}, **kwargs})


async def follow_on(backend: Backend, request: Callable[[int], Request]) -> None:
    """Hold a conversation of three turns and a half with a backend that may not wait for a request that never comes."""
    due: asyncio.Queue[int | None] = asyncio.Queue()
    for number in range(3):
        due.put_nowait(number)

    async def given() -> AsyncIterator[Request]:
        while (number := await due.get()) is not None:
            yield request(number)

    answered = 0

    async def converse() -> None:
        nonlocal answered
        async for _, reply in backend.generate(given()):
            assert isinstance(reply, Completion), reply
            answered += 1
            if answered < 8:
                asyncio.get_running_loop().call_later(0.01, due.put_nowait, answered + 2)
            if answered == 10:
                due.put_nowait(None)

    await asyncio.wait_for(converse(), 60)
    await backend.aclose()
    assert answered == 10
