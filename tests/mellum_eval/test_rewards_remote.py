"""Rewards judged by a service: the local verdicts, patience where it is away, one line where it is gone or refuses."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from serving import serving

from mellum_eval import rewards
from mellum_eval.rewards import NotJudged, Options, remote
from mellum_eval.rewards.remote import RemoteVerifiers
from sandboxes.check import CHECK
from sandboxes.errors import SandboxUnavailable
from sandboxes.verdict import Outcome, Verdict

CALLS = {"kind": "calls", "entry_point": "f", "calls": [[3], [4]], "expected": [9, 16], "limits": {"cpu_s": 5}}
ROWS: list[tuple[dict[str, Any], str]] = [
    (CALLS, "```python\ndef f(x): return x * x\n```"),
    (CALLS, "```python\ndef f(x): return 9\n```"),
    (CALLS, "```python\nraise SystemExit(0)\n```"),
    ({**CALLS, "expected": None, "expected_py": "[(3,), {1: ()}]"}, "```python\ndef f(x): return (x,)\n```"),
    ({"kind": "stdio", "cases": [{"stdin": "ä\n", "stdout": "ä\n"}]}, "```python\nprint(input())\n```"),
    ({"kind": "math", "answer": "1/2"}, "It is \\boxed{0.5}."),
    ({"kind": "choice", "answer": "B", "choices": 2}, "Answer: B \ud800"),
    ({"kind": "exact", "answer": "yes"}, "no"),
]
OK = httpx.Response(200, json={"status": "ok", "version": "another"})
PASSED = Verdict(Outcome.PASSED, 1.0, 2, 2).as_line("0")


def test_verdicts_are_the_local_ones() -> None:
    local = Options(sandbox="local", workers=1)
    with serving("--workers", "1") as served:
        there = Options(service=f"{served.url}/")
        for check, completion in ROWS:
            mine, found = (rewards.judge(check, completion, options) for options in (local, there))
            assert found == replace(mine, cpu_s=found.cpu_s, wall_s=found.wall_s, parts={}, evidence={}), check
        reward = rewards.make_reward(service=served.url)
        assert reward(["?"] * 2, [text for _, text in ROWS[:2]], check=[CALLS, CALLS]) == [1.0, 0.5]
        assert rewards.compute_score("", ROWS[1][1], CALLS, service=served.url) == 0.5
    rewards.close()


def test_a_token_is_shown_and_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(MELLUM_TOKEN="a-long-secret") as served:
        for token, says in ((None, "wants a token in MELLUM_TOKEN"), ("another-one", "refuses the token in MELLUM_")):
            monkeypatch.delenv("MELLUM_TOKEN", raising=False)
            if token:
                monkeypatch.setenv("MELLUM_TOKEN", token)
            with pytest.raises(SandboxUnavailable, match=says):
                rewards.judge(*ROWS[0], Options(service=served.url))
            rewards.close()
        monkeypatch.setenv("MELLUM_TOKEN", "a-long-secret")
        assert rewards.judge(*ROWS[0], Options(service=served.url)).passed
    rewards.close()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"service": "localhost:8080"}, "service: an address such as"),
        ({"service": "http://me:secret@host"}, "as MELLUM_TOKEN, not into the address"),
        ({"service": "http://host", "workers": 2}, "service: sandbox, workers and ray are the service's own"),
        ({"service": "http://host", "patience_s": 0}, "patience_s: seconds above 0"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        Options(**options)
    assert "secret" not in str(caught.value)


def judged(answer: Callable[[httpx.Request, int], httpx.Response], *, patience_s: float = 60.0) -> tuple[Verdict, int]:
    """A verdict by a service that answers so, and how often it was asked."""
    posts = 0

    def handle(request: httpx.Request) -> httpx.Response:
        nonlocal posts
        if request.url.path == "/health":
            return OK
        posts += 1
        return answer(request, posts)

    async def work() -> Verdict:
        judges = RemoteVerifiers("http://there:1", patience_s, httpx.MockTransport(handle))
        try:
            return await judges.verify(CHECK.validate_python(CALLS), "def f(x): return x * x")
        finally:
            await judges.close()

    return asyncio.run(work()), posts


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(remote, "LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr(remote, "START_S", 0.05)


def test_what_passes_is_waited_for(quick: None) -> None:
    def answer(request: httpx.Request, number: int) -> httpx.Response:
        if number == 1:
            raise httpx.ConnectError("refused")
        if number == 2:
            raise httpx.RemoteProtocolError("it went away")
        steps = {3: httpx.Response(503), 4: httpx.Response(429, headers={"Retry-After": "0"}), 5: httpx.Response(200)}
        return steps.get(number, httpx.Response(200, json=PASSED))

    verdict, posts = judged(answer)
    assert verdict.passed and posts == 6


@pytest.mark.parametrize("reply", [{"outcome": "passed"}, {**PASSED, "score": float("nan")}, {**PASSED, "score": 7}])
def test_what_is_no_verdict_is_not_believed(reply: dict[str, Any], quick: None) -> None:
    verdict, posts = judged(lambda request, number: httpx.Response(200, content=json.dumps(reply)))
    assert verdict.outcome is Outcome.INFRA_ERROR and posts == remote.BROKEN_TRIES


def test_silence_for_too_long_is_the_end(quick: None) -> None:
    def silent(request: httpx.Request, number: int) -> httpx.Response:
        raise httpx.ConnectError("refused")

    begun = time.monotonic()
    with pytest.raises(SandboxUnavailable, match=r"at http://there:1 has not answered for .*refused.*; start it again"):
        judged(silent, patience_s=0.1)
    assert time.monotonic() - begun < 10


def test_a_full_queue_is_no_silence(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    full = httpx.Response(429, headers={"Retry-After": "0"})
    verdict, posts = judged(lambda _, n: full if n < 6 else httpx.Response(200, json=PASSED), patience_s=0.2)
    assert verdict.passed and posts == 6


def test_nobody_there_is_said_soon_and_again_when_somebody_came(quick: None) -> None:
    there = False

    def handle(request: httpx.Request) -> httpx.Response:
        if not there:
            raise httpx.ConnectError("refused")
        return OK if request.url.path == "/health" else httpx.Response(200, json=PASSED)

    async def work() -> None:
        nonlocal there
        judges = RemoteVerifiers("http://there:1", 60.0, httpx.MockTransport(handle))
        with pytest.raises(SandboxUnavailable, match="no verifier service answers at http://there:1"):
            await judges.ready()
        there = True
        await judges.ready()
        await judges.close()

    asyncio.run(work())


def test_another_server_is_not_taken_for_one(quick: None) -> None:
    async def work() -> None:
        judges = RemoteVerifiers("http://there:1", 60.0, httpx.MockTransport(lambda _: httpx.Response(404)))
        with pytest.raises(SandboxUnavailable, match="is no mellum-eval service"):
            await judges.ready()

    asyncio.run(work())


def test_what_could_not_be_judged_there_is_no_zero() -> None:
    with serving("--max-cpu-s", "1") as served:
        reward = rewards.make_reward(service=served.url)
        assert reward(["?"], [ROWS[0][1]], check=[CALLS]) == [None]
        with pytest.raises(NotJudged, match=r"limits\.cpu_s: at most 1 is given here"):
            rewards.compute_score("", ROWS[0][1], CALLS, service=served.url)
    rewards.close()
