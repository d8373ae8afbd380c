"""Jobs that share requests to a service: each gets its own verdict, once, and pays for no other."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, TypeVar

import httpx
import pytest
from serving import Served, serving

from mellum_eval.rewards import remote
from mellum_eval.rewards.batching import Batcher
from mellum_eval.rewards.remote import RemoteVerifiers
from sandboxes.check import CHECK
from sandboxes.verdict import Outcome, Verdict

T = TypeVar("T")
Posted = list[dict[str, Any]]
CALLS = CHECK.validate_python({"kind": "calls", "entry_point": "f", "calls": [[3], [4]], "expected": [9, 16]})


def line(job: dict[str, Any]) -> dict[str, Any]:
    """A verdict in which the answer can be found again."""
    return Verdict(Outcome.FAILED, 0.5, 1, 2, message=job["code"]).as_line(job["id"])


def reply(jobs: Posted, *, alone: bool) -> httpx.Response:
    lines = [line(job) for job in jobs]
    return httpx.Response(200, json=lines[0] if alone else lines)


def served(
    work: Callable[[RemoteVerifiers], Awaitable[T]],
    answer: Callable[[Posted, bool], Awaitable[httpx.Response]],
    **facts: Any,
) -> tuple[T, list[Posted]]:
    """What work with a service that answers so comes to, and the jobs of each request."""
    requests: list[Posted] = []

    async def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/health":
            return httpx.Response(200, json={"version": "another", **facts})
        body = json.loads(request.content)
        jobs = body if isinstance(body, list) else [body]
        requests.append(jobs)
        return await answer(jobs, isinstance(body, dict))

    async def run() -> T:
        judges = RemoteVerifiers("http://there:1", 60.0, httpx.MockTransport(handle))
        try:
            await judges.ready()
            return await work(judges)
        finally:
            await judges.close()

    return asyncio.run(run()), requests


async def all_of(judges: RemoteVerifiers, answers: list[str]) -> list[Verdict]:
    return await asyncio.gather(*(judges.verify(CALLS, answer) for answer in answers))


async def at_once(jobs: Posted, alone: bool) -> httpx.Response:
    await asyncio.sleep(0.01)
    return reply(jobs, alone=alone)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(remote, "LONGEST_PAUSE_S", 0.02)


def test_a_batch_is_under_way_at_once_and_each_job_gets_its_own_verdict() -> None:
    answers = [f"answer {number}" for number in range(200)]
    verdicts, requests = served(lambda judges: all_of(judges, answers), at_once)
    assert [verdict.message for verdict in verdicts] == answers
    assert len(requests) <= remote.CONNECTIONS and sum(map(len, requests)) == 200


def test_few_jobs_wait_for_no_others() -> None:
    _, requests = served(lambda judges: all_of(judges, ["a", "b", "c"]), at_once)
    assert [len(jobs) for jobs in requests] == [1, 1, 1]


@pytest.mark.parametrize("broken", ["connection", "status", "no list", "short list"])
def test_what_breaks_a_request_is_judged_alone_and_costs_its_neighbours_nothing(
    broken: str, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "CONNECTIONS", 2)

    async def answer(jobs: Posted, alone: bool) -> httpx.Response:
        if any(job["code"] == "poison" for job in jobs):
            if broken == "connection":
                raise httpx.ReadError("gone")
            good = reply(jobs, alone=False).json()
            replies: dict[str, Any] = {"no list": {"passed": True}, "short list": good[1:]}
            return httpx.Response(500 if broken == "status" else 200, json=replies.get(broken))
        return reply(jobs, alone=alone)

    answers = ["poison", *(f"answer {number}" for number in range(150))]
    verdicts, requests = served(lambda judges: all_of(judges, answers), answer)
    assert [verdict.message for verdict in verdicts[1:]] == answers[1:]
    assert verdicts[0].outcome is Outcome.INFRA_ERROR and verdicts[0].score is None
    tries = [len(jobs) for jobs in requests if any(job["code"] == "poison" for job in jobs)]
    assert tries == [remote.JOBS, *[1] * (remote.BROKEN_TRIES - 1)]
    assert sum(map(len, requests)) == len(answers) - 1 + remote.JOBS - 1 + remote.BROKEN_TRIES


def test_a_request_that_is_not_taken_is_sent_in_parts(quick: None) -> None:
    async def answer(jobs: Posted, alone: bool) -> httpx.Response:
        if len(jobs) > 1 or jobs[0]["code"] == "huge":
            return httpx.Response(413, json={"error": {"message": "too long"}})
        return reply(jobs, alone=alone)

    answers = [*(f"answer {number}" for number in range(150)), "huge"]
    verdicts, _ = served(lambda judges: all_of(judges, answers), answer)
    assert [verdict.message for verdict in verdicts[:-1]] == answers[:-1]
    assert verdicts[-1].outcome is Outcome.INFRA_ERROR and "took no such job (HTTP 413" in verdicts[-1].message


def test_a_verdict_of_another_job_is_not_believed(quick: None) -> None:
    async def answer(jobs: Posted, alone: bool) -> httpx.Response:
        return reply(jobs, alone=True) if alone else httpx.Response(200, json=[line(job) for job in reversed(jobs)])

    answers = [f"answer {number}" for number in range(200)]
    verdicts, _ = served(lambda judges: all_of(judges, answers), answer)
    assert [verdict.message for verdict in verdicts] == answers


def test_no_more_is_under_way_than_the_service_takes_on() -> None:
    under_way, most = 0, 0

    async def answer(jobs: Posted, alone: bool) -> httpx.Response:
        nonlocal under_way, most
        under_way += len(jobs)
        most = max(most, under_way)
        await asyncio.sleep(0.005)
        under_way -= len(jobs)
        return reply(jobs, alone=alone)

    served(lambda judges: all_of(judges, ["x"] * 60), answer, queue=10)
    assert most == 10


def test_a_reply_is_waited_for_while_others_come(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "REPLY_S", 0.5)
    tries = 0

    async def answer(jobs: Posted, alone: bool) -> httpx.Response:
        nonlocal tries
        if jobs[0]["code"] == "slow":
            tries += 1
            await asyncio.sleep(1.5)
        elif jobs[0]["code"] == "lost" and tries == 1:
            tries += 1
            await asyncio.sleep(3600)
        return reply(jobs, alone=alone)

    async def work(judges: RemoteVerifiers) -> Verdict:
        slow = asyncio.ensure_future(judges.verify(CALLS, "slow"))
        while not slow.done():
            await judges.verify(CALLS, "other")
            await asyncio.sleep(0.1)
        assert tries == 1
        return (await asyncio.gather(slow, judges.verify(CALLS, "lost")))[1]

    assert served(work, answer)[0].message == "lost" and tries == 2


def test_a_malformed_job_is_told_of_as_if_it_were_alone() -> None:
    long = CALLS.model_copy(update={"limits": CALLS.limits.model_copy(update={"cpu_s": 30.0, "wall_s": 300.0})})

    async def work(url: str) -> list[Verdict]:
        judges = RemoteVerifiers(url, 60.0)
        await judges.ready()
        try:
            checks = [CALLS, long] * 50
            return await asyncio.gather(*(judges.verify(check, "def f(x): return x * x") for check in checks))
        finally:
            await judges.close()

    with serving("--max-cpu-s", "20") as there:
        verdicts = asyncio.run(work(there.url))
    assert all(verdict.passed for verdict in verdicts[::2])
    assert {verdict.message for verdict in verdicts[1::2]} == {"limits.cpu_s: at most 20 is given here"}
    assert all(verdict.score is None for verdict in verdicts[1::2])


def test_a_batch_outlives_the_service_that_was_judging_it() -> None:
    codes = [
        f"import time\ndef f(x):\n    time.sleep(0.05)\n    return {'x * x' if n % 2 else 9}  # {n}" for n in range(60)
    ]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])

    async def work(first: Served, stack: ExitStack) -> list[Verdict]:
        judges = RemoteVerifiers(first.url, 60.0)
        await judges.ready()
        try:
            judging = asyncio.ensure_future(all_of(judges, codes))
            await asyncio.sleep(1.5)
            assert not judging.done()
            await asyncio.to_thread(first.stop, signal.SIGKILL)
            await asyncio.to_thread(stack.enter_context, serving("--port", port))
            return await judging
        finally:
            await judges.close()

    with ExitStack() as stack:
        verdicts = asyncio.run(work(stack.enter_context(serving("--port", port)), stack))
    assert [verdict.score for verdict in verdicts] == [0.5, 1.0] * 30


def test_a_request_ends_when_nobody_waits_for_it_and_not_before() -> None:
    async def work() -> None:
        ended: list[list[int]] = []
        release = asyncio.Event()

        async def send(batch: list[int]) -> list[int]:
            try:
                await release.wait()
            except asyncio.CancelledError:
                ended.append(batch)
                raise
            return batch

        batcher = Batcher(send, requests=2, items=2)
        first, second, third, fourth, waiting = (asyncio.ensure_future(batcher(number)) for number in range(5))
        await asyncio.sleep(0.01)
        for task in (first, second, third):
            task.cancel()
        await asyncio.sleep(0.01)
        assert ended == [[0, 1]]
        release.set()
        assert await asyncio.gather(fourth, waiting) == [3, 4]
        release.clear()
        last = [asyncio.ensure_future(batcher(number)) for number in range(9)]
        await asyncio.sleep(0.01)
        await batcher.close()
        done, _ = await asyncio.wait(last, timeout=5)
        assert len(done) == 9 and all(task.cancelled() for task in last)

    asyncio.run(work())
