"""Problems of several turns are asked turn by turn, end in one record each, and are judged by what they ended with."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pipeline_fakes import SUITES, FakeJudge, Scripted, Sums, manifest

from mellum_eval import asking
from mellum_eval.backends.base import Completion, Failure, Incoming, Reply, Request
from mellum_eval.backends.mock import MockBackend
from mellum_eval.backends.replay import ReplayBackend
from mellum_eval.errors import PrerequisiteMissing
from mellum_eval.pipeline import Pipeline
from mellum_eval.plan import PlannedSuite, plan
from mellum_eval.records import Generation, Scores
from mellum_eval.spec import BackendOptions, RunSpec
from mellum_eval.store import RunStore
from sandboxes.check import ExactCheck
from sandboxes.errors import SandboxError
from suites.conversation import GoOn, ModelTurn, Over, Step, grown
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.validate import validate

pytestmark = pytest.mark.usefixtures("fake_suites")


class Counting(Sums):
    """Problem n takes n % 4 + 1 turns: the model says one number a turn, the answer is what it said, joined."""

    name = "counting"
    version = "1"
    sampling = Sampling(temperature=0.5)
    open: ClassVar[set[Any]] = set()
    hook: ClassVar[Callable[[str, int], None]] = staticmethod(lambda problem, turn: None)
    delay_s: ClassVar[float] = 0.0

    def problems(self) -> Sequence[Problem]:
        golds = [" ".join(str(n + k) for k in range(n % 4 + 1)) for n in range(20)]
        return [
            Problem(f"count/{n}", f"count from {n}", ExactCheck(kind="exact", answer=gold), gold)
            for n, gold in enumerate(golds)
        ]

    def script(self, problem: Problem, text: str) -> Sequence[ModelTurn]:
        return [ModelTurn(word, ({"name": "note", "arguments": {"word": word}},)) for word in text.split()]

    def converse(self, problem: Problem, sandbox: Any) -> _Count:
        return _Count(problem)


class _Count:
    def __init__(self, problem: Problem) -> None:
        self.problem, self.said = problem, [""]
        Counting.open.add(self)

    async def step(self, turn: ModelTurn) -> Step:
        await asyncio.sleep(Counting.delay_s)
        Counting.hook(self.problem.id, len(self.said))
        self.said.append(turn.text)
        if len(self.said) <= int(self.problem.id.partition("/")[2]) % 4 + 1:
            return GoOn((Message("tool", f"noted {turn.text}"), Message("user", "and now?")))
        return Over(" ".join(self.said[1:]))

    async def aclose(self) -> None:
        Counting.open.remove(self)


@pytest.fixture(autouse=True)
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SUITES, "counting", Counting)
    monkeypatch.setattr(Counting, "open", set())


class Batched(Scripted):
    """Takes as many requests as there are at hand, as backends do that pad prompts to one length."""

    async def generate(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:  # type: ignore[override]
        incoming = Incoming(requests)
        while (first := await incoming.take()) is not None:
            batch = [first]
            while len(batch) < self.limit and (request := await incoming.at_hand(0.001)) is not None:
                batch.append(request)
            for request in batch:
                yield request, await self._one(request)


def planned(*suites: str, **spec: Any) -> list[PlannedSuite]:
    return plan(RunSpec(suites=suites or ("counting",), **spec), chat=True)


async def run(path: Path, backend: Any, suites: list[PlannedSuite] | None = None) -> Scores:
    store = RunStore.resume(path) if path.exists() else RunStore.create(path, manifest())
    with store:
        line = Pipeline(suites or planned(), store, FakeJudge(), None, width=4)
        try:
            return await asyncio.wait_for(line.run(backend), 60)
        finally:
            assert not Counting.open, "a conversation was left open"


def gold(request: Request) -> str:
    return request.gold or ""


def stored(path: Path) -> dict[tuple[str, int], Generation]:
    return {(g.problem, g.sample): g for g in RunStore.open(path).generations()}


@pytest.mark.parametrize("limit", [1, 3, 64])
@pytest.mark.parametrize("kind", [Scripted, Batched])
async def test_every_turn_is_asked_and_the_answer_is_judged(tmp_path: Path, kind: Any, limit: int) -> None:
    backend = kind(gold, limit)
    scores = await run(tmp_path / "r", backend, planned("counting", "sums"))
    assert scores.suites["counting"].outcomes == {"passed": 20} == scores.suites["sums"].outcomes
    assert len(backend.asked) == 20 + sum(n % 4 + 1 for n in range(20))
    one = stored(tmp_path / "r")["count/7", 0]
    assert one.answer == "7 8 9 10" and one.text == "10"
    assert [turn.text for turn in one.turns] == ["7", "8", "9", "10"]
    assert one.tokens == {"prompt": 40, "completion": 8} and one.latency_s == 2.0
    assert one.turns[0].messages == [{"role": "tool", "content": "noted 7"}, {"role": "user", "content": "and now?"}]
    assert one.turns[-1].messages == []
    assert one.prompt == {"messages": [{"role": "user", "content": "count from 7"}]}


async def test_the_prompt_grows_by_what_was_said_without_the_reasoning(tmp_path: Path) -> None:
    def thinking(request: Request) -> Completion:
        return Completion(
            f"<think>hm, {request.turn}</think>\n\n{request.gold}",
            tool_calls=({"name": "note", "arguments": "{not json"},),
            finish="tool_calls",
        )

    backend = Scripted(thinking)
    scores = await run(tmp_path / "r", backend)
    assert scores.suites["counting"].outcomes == {"passed": 20}
    (third,) = [r for r in backend.asked if r.problem == "count/2" and r.turn == 2]
    assert third.prompt.messages == (
        Message("user", "count from 2"),
        Message("assistant", "2", ({"name": "note", "arguments": {}},)),
        Message("tool", "noted 2"),
        Message("user", "and now?"),
        Message("assistant", "3", ({"name": "note", "arguments": {}},)),
        Message("tool", "noted 3"),
        Message("user", "and now?"),
    )
    assert stored(tmp_path / "r")["count/2", 0].turns[0].tool_calls == [{"name": "note", "arguments": "{not json"}]


async def test_turns_and_samples_have_seeds_of_their_own_and_keep_them(tmp_path: Path) -> None:
    first, second = Scripted(gold), Batched(gold, 7)
    await run(tmp_path / "a", first, planned(samples=2))
    await run(tmp_path / "b", second, planned(samples=2))
    seeds = {(r.problem, r.sample, r.turn): r.sampling.seed for r in first.asked}
    assert len(set(seeds.values())) == 100 == len(first.asked)
    assert seeds == {(r.problem, r.sample, r.turn): r.sampling.seed for r in second.asked}
    assert (tmp_path / "a" / "scores.json").read_bytes() == (tmp_path / "b" / "scores.json").read_bytes()


async def test_a_run_that_was_stopped_anywhere_ends_with_the_same_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Counting, "delay_s", 0.003)
    suites = planned("counting", "sums", samples=2)
    await run(tmp_path / "whole", Scripted(gold), suites)
    rng, stops = random.Random(1), 0
    while True:
        task = asyncio.create_task(run(tmp_path / "r", Scripted(gold), suites))
        try:
            await asyncio.wait_for(task, rng.uniform(0.005, 0.05) * (1 + stops / 5))
            break
        except TimeoutError:
            stops += 1
    assert stops > 1
    assert (tmp_path / "r" / "scores.json").read_bytes() == (tmp_path / "whole" / "scores.json").read_bytes()
    assert len((tmp_path / "r" / "generations.jsonl").read_bytes().splitlines()) == 80, "a sample was made twice"


async def test_a_turn_that_fails_is_owed_again_from_the_first(tmp_path: Path) -> None:
    def broken(request: Request) -> Any:
        return Failure("HTTP 500") if (request.problem, request.turn) == ("count/3", 2) else gold(request)

    scores = await run(tmp_path / "r", Scripted(broken))
    assert scores.suites["counting"].outcomes == {"passed": 19, "infra_error": 1}
    failed = stored(tmp_path / "r")["count/3", 0]
    assert failed.error == "turn 3: HTTP 500" and len(failed.turns) == 2 and failed.answer is None
    backend = Scripted(gold)
    assert (await run(tmp_path / "r", backend)).suites["counting"].outcomes == {"passed": 20}
    assert [r.turn for r in backend.asked] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("error", "message"),
    [(SandboxError("container lost"), "turn 2 could not be run: container lost"), (KeyError("x"), "step() raised")],
)
async def test_what_could_not_be_run_is_nobodys_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def hook(problem: str, turn: int) -> None:
        if (problem, turn) == ("count/2", 2):
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(Counting, "hook", staticmethod(hook))
        scores = await run(tmp_path / "r", Scripted(gold))
    assert scores.suites["counting"].outcomes == {"passed": 19, "infra_error": 1}
    assert message in (stored(tmp_path / "r")["count/2", 0].error or "")
    assert (await run(tmp_path / "r", Scripted(gold))).suites["counting"].outcomes == {"passed": 20}


async def test_a_model_that_goes_away_keeps_the_conversations_that_ended(tmp_path: Path) -> None:
    def reply(request: Request) -> str:
        if request.problem == "count/17":
            raise PrerequisiteMissing("gone", "start it")
        return gold(request)

    with pytest.raises(PrerequisiteMissing, match="gone"):
        await run(tmp_path / "r", Scripted(reply))
    done = len(stored(tmp_path / "r"))
    assert 5 <= done < 20
    backend = Scripted(gold)
    assert not (await run(tmp_path / "r", backend)).partial
    assert len([r for r in backend.asked if r.turn == 0]) == 20 - done


async def test_new_problems_wait_while_turns_are_being_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "STEPPING", 3)
    monkeypatch.setattr(Counting, "delay_s", 0.002)
    most = 0

    def reply(request: Request) -> str:
        nonlocal most
        most = max(most, len(Counting.open))
        return gold(request)

    await run(tmp_path / "r", Scripted(reply, limit=2))
    assert 1 <= most <= 3 + 2


async def test_rescoring_judges_the_stored_answer(tmp_path: Path) -> None:
    await run(tmp_path / "r", Scripted(lambda r: "x" if r.problem == "count/5" else gold(r)))
    with RunStore.resume(tmp_path / "r") as store:
        judge = FakeJudge()
        scores, _ = await Pipeline(planned(), store, judge, None, width=4).rescore()
    assert scores.suites["counting"].outcomes == {"passed": 19, "failed": 1}
    assert "x x" in judge.seen and "7 8 9 10" in judge.seen
    assert not Counting.open


@pytest.mark.parametrize(("name", "right"), [("gold", 20), ("empty", 0)])
async def test_a_mock_plays_the_suites_script(tmp_path: Path, name: str, right: int) -> None:
    scores = await run(tmp_path / "r", MockBackend(name, BackendOptions()))
    assert scores.suites["counting"].outcomes.get("passed", 0) == right
    turns = stored(tmp_path / "r")["count/1", 0].turns
    assert [turn.tool_calls for turn in turns] == [
        [{"name": "note", "arguments": {"word": word}}] if right else [] for word in ("1", "2")
    ]


async def test_a_replay_says_turn_by_turn_what_the_model_said(tmp_path: Path) -> None:
    await run(tmp_path / "r", MockBackend("mixed", BackendOptions()), planned("counting", "sums"))
    await run(tmp_path / "again", ReplayBackend(tmp_path / "r"), planned("counting", "sums"))
    assert (tmp_path / "again" / "scores.json").read_bytes() == (tmp_path / "r" / "scores.json").read_bytes()


async def test_a_turn_cut_short_counts_as_truncated(tmp_path: Path) -> None:
    def cut(request: Request) -> Completion:
        finish = "length" if (request.problem, request.turn) == ("count/1", 0) else "stop"
        return Completion(gold(request), finish=finish, tokens={"completion": 1})

    scores = await run(tmp_path / "r", Scripted(cut))
    assert scores.suites["counting"].tokens == {"completion": 2.5, "truncated": 0.05}


async def test_records_of_before_there_were_conversations_are_read(tmp_path: Path) -> None:
    await run(tmp_path / "r", Scripted(gold), planned("sums"))
    path = tmp_path / "r" / "generations.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    old = [{name: value for name, value in line.items() if name not in ("turns", "answer")} for line in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in old))
    backend = Scripted(gold)
    assert (await run(tmp_path / "r", backend, planned("sums"))).suites["sums"].outcomes == {"passed": 20}
    assert backend.asked == []


async def test_validation_plays_gold_and_an_empty_answer_through_the_conversation() -> None:
    judge = FakeJudge()
    result = await validate(Counting(), None, judge.verify)  # type: ignore[arg-type]
    assert result.ok and result.gold_passed == 20 and result.empty_passed == 0
    assert "7 8 9 10" in judge.seen and "   " in judge.seen and not Counting.open


def test_a_prompt_grows_by_nothing_that_a_server_would_choke_on() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    calls = ({"name": "f", "arguments": deep}, {"name": "", "arguments": {"x": "\ud800"}}, {"arguments": {"x": 1e999}})
    step = GoOn((Message("tool", "a \udfff"),), tools=({"name": "g"},))
    prompt = grown(Prompt(messages=(Message("user", "hi"),)), ModelTurn("b \ud800", calls), step)
    json.dumps([m.content for m in prompt.messages], ensure_ascii=False).encode("utf-8")
    assert [call["arguments"] for call in prompt.messages[1].tool_calls] == [{}, {"x": "?"}, {}]
    assert prompt.tools == ({"name": "g"},)
    text = grown(Prompt(text="Q: 1+1\nA:"), ModelTurn(" 3"), GoOn((Message("user", "No. Again:"),)))
    assert text.text == "Q: 1+1\nA: 3\n\nNo. Again:\n\n"
