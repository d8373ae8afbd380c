"""A real Ray cluster of two nodes on this machine: verdicts, a node that dies in the middle, one that joins."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from ray_nodes import NODE, two_nodes
from serving import ROOT, serving

from mellum_eval import rewards
from mellum_eval.cluster import ClusterVerifiers
from mellum_eval.rewards import make_reward
from sandboxes.choose import open_sandbox
from sandboxes.job import Job, parse_job
from sandboxes.verdict import Verdict
from sandboxes.verify import Judges, Verifiers

pytest.importorskip("ray", reason="pip install 'mellum-eval[ray]'")
pytestmark = pytest.mark.timeout(300)
SQUARE = {"kind": "calls", "entry_point": "f", "calls": [[3], [4]], "expected": [9, 16]}
RIGHT = "```python\ndef f(x): return x * x\n```"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    for cluster in two_nodes():
        yield cluster
        rewards.close()


def job(id: str, code: str, **fields: Any) -> dict[str, Any]:
    return {"id": id, **SQUARE, "code": code, **fields}


JOBS: list[dict[str, Any]] = [
    job("right", "def f(x): return x * x"),
    job("half", "def f(x): return 9"),
    job("tuple", "def f(x): return (x, x)", expected=None, expected_py="[(3, 3), (4, 4)]"),
    job("raises", "def f(x): raise KeyError('\\ud800')"),
    job("syntax", "def f(:"),
    job("loop", "def f(x):\n    while True: pass", limits={"cpu_s": 0.3}),
    job("exit", "import os; os._exit(0)"),
    {
        "id": "check",
        "kind": "check",
        "entry_point": "f",
        "test": "def check(g):\n    assert g(2) == 4",
        "code": "f = abs",
    },
    {"id": "asserts", "kind": "asserts", "tests": ["assert f(-1) == 1", "assert f(2) == 3"], "code": "f = abs"},
    {"id": "stdio", "kind": "stdio", "cases": [{"stdin": "a", "stdout": "A"}], "code": "print(input().upper())"},
    {"id": "math", "kind": "math", "answer": "1/2", "completion": "So \\boxed{0.5}"},
    {"id": "choice", "kind": "choice", "answer": "B", "choices": 4, "completion": "The answer is C."},
]
for fields in JOBS:
    if fields.get("expected", 0) is None:
        del fields["expected"]


def parsed(fields: dict[str, Any]) -> Job:
    return parse_job(fields)


async def verdicts(judges: Judges, jobs: list[dict[str, Any]]) -> list[Verdict]:
    return list(await asyncio.gather(*(judges.verify_twice(j.check, j.answer) for j in map(parsed, jobs))))


def told(verdict: Verdict) -> Any:
    """All but what the clock says."""
    line = verdict.as_line("")
    del line["cpu_s"], line["wall_s"]
    evidence = {name: value for name, value in verdict.evidence.items() if name != "stderr"}
    return line, dict(verdict.parts), evidence


async def until_nodes(judges: ClusterVerifiers, count: int) -> None:
    async with asyncio.timeout(60):
        while len(judges._nodes.open) != count:
            await asyncio.sleep(0.05)


async def test_jobs_are_spread_and_their_verdicts_are_those_of_one_pool(cluster: Any) -> None:
    async with await open_sandbox("local", 2) as pool:
        here = await verdicts(Verifiers(sandbox=pool), JOBS)
    async with ClusterVerifiers(cluster.address, "local") as judges:
        await judges.ready()
        await until_nodes(judges, 2)
        assert judges.workers == 2
        assert await judges.healthy()
        there = await verdicts(judges, JOBS * 3)
        assert [told(v) for v in there] == [told(v) for v in here] * 3
        assert len(judges.judged) == 2, "both nodes had work"
        assert min(judges.judged.values()) >= 5, judges.judged
        # Who gives up ends the work on its node: the places come back long before the sleepers' own end.
        sleeper = parsed(job("sleeper", "import time\ndef f(x): time.sleep(1000)"))
        work = [asyncio.create_task(judges.verify(sleeper.check, sleeper.answer)) for _ in range(12)]
        await asyncio.sleep(1)
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        async with asyncio.timeout(20):
            assert [v.passed for v in await verdicts(judges, JOBS[:1] * 4)] == [True] * 4


async def test_a_node_killed_in_the_middle_loses_no_job_and_one_that_joins_gets_work(cluster: Any) -> None:
    slow = "import time\ndef f(x):\n    time.sleep(0.15)\n    return x * x"
    async with ClusterVerifiers(cluster.address, "local") as judges:
        await judges.ready()
        await until_nodes(judges, 2)
        counts: list[str] = []

        async def one(number: int) -> float | None:
            j = parsed(job(str(number), slow if number % 2 else slow.replace("x * x", "9")))
            verdict = await judges.verify(j.check, j.answer)
            counts.append(j.id)
            return verdict.score

        work = [asyncio.create_task(one(number)) for number in range(30)]
        while len(counts) < 6:
            await asyncio.sleep(0.05)
        victim = cluster.list_all_nodes()[-1]
        cluster.remove_node(victim, allow_graceful=False)
        scores = await asyncio.gather(*work)
        assert scores == [1.0 if number % 2 else 0.5 for number in range(30)], "none lost, none invented"
        assert sorted(counts, key=int) == [str(number) for number in range(30)], "none judged twice"
        before = judges.judged
        cluster.add_node(**NODE)
        async with asyncio.timeout(60):
            while len(set(judges.judged) - set(before)) < 1:
                await verdicts(judges, JOBS[:1] * 4)
                await asyncio.sleep(0.2)


async def test_the_verb_the_service_and_rewards_use_it(cluster: Any) -> None:
    options = ("--ray", cluster.address, "--sandbox", "local", "--workers", "1")
    lines = "".join(json.dumps(fields) + "\n" for fields in [*JOBS, {"id": "bad"}])
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "mellum_eval", "verify", *options],
        *(),
        input=lines,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [a["id"] for a in answers] == [*(fields["id"] for fields in JOBS), "bad"]
    assert [a["passed"] for a in answers[:2]] == [True, False]
    # Beside our line there may be what Ray says of a node that another test killed, or that a busy machine starved.
    assert "1 of 13 lines" in done.stderr.splitlines()[-1], done.stderr
    assert "Traceback" not in done.stderr, done.stderr

    def served() -> None:
        with serving(*options) as service:
            got = httpx.post(service.url + "/verify", json=JOBS[:3], timeout=60).json()
            assert [a["score"] for a in got] == [1.0, 0.5, 1.0]
            body = {"code": "print(input().upper())", "stdin": "abc", "language": "python"}
            ran = httpx.post(service.url + "/run_code", json=body, timeout=60).json()
            assert (ran["status"], ran["run_result"]["stdout"]) == ("Success", "ABC\n")
            assert httpx.get(service.url + "/health").json()["engine"] == "local"
            assert service.stop() == 0

    await asyncio.to_thread(served)
    reward = make_reward(ray=cluster.address, sandbox="local", workers=1)
    assert await asyncio.to_thread(reward, ["?"] * 2, [RIGHT, "no"], check=[SQUARE] * 2) == [1.0, 0.0]
    await asyncio.to_thread(rewards.close)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", "ray://127.0.0.1:1"])
def test_without_a_cluster_it_says_so_at_once(address: str) -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "mellum_eval", "verify", "--ray", address],
        *(),
        input="",
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert len(done.stderr.splitlines()) == 1 and f"no Ray cluster answers at {address}" in done.stderr
    assert time.monotonic() - started < 30
