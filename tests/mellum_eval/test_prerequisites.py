"""Conversations that come before problems: once a sample, in order, and what each ends with is where others begin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pipeline_fakes import SUITES, FakeJudge, Scripted, Sums, manifest

from mellum_eval.backends.base import Completion, Failure, Request
from mellum_eval.campaign import Member
from mellum_eval.estimate import Measured, estimate
from mellum_eval.pipeline import Pipeline
from mellum_eval.plan import PlannedSuite, plan
from mellum_eval.records import Generation, Scores
from mellum_eval.spec import RunSpec
from mellum_eval.store import RunStore
from sandboxes.check import ExactCheck
from sandboxes.choose import open_sandbox
from sandboxes.verify import Verifiers
from suites.conversation import GoOn, ModelTurn, Over, Step
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.tools.bfcl_memory import BfclMemory

pytestmark = pytest.mark.usefixtures("fake_suites")
UNSCORED = ExactCheck(kind="exact", answer="-")


class Chained(Sums):
    """Two chains of three lessons of two turns each; five questions about the end of each chain."""

    name = "chained"
    version = "1"
    sampling = Sampling(temperature=0.5, samples=2)
    read: ClassVar[int] = 0

    def problems(self) -> Sequence[Problem]:
        return [
            Problem(f"{chain}?{n}", "what was said?", ExactCheck(kind="exact", answer="-"), follows=f"{chain}2")
            for chain in "ab"
            for n in range(5)
        ]

    def prerequisites(self) -> Sequence[Problem]:
        Chained.read += 1
        return [
            Problem(f"{chain}{n}", "listen", UNSCORED, follows=f"{chain}{n - 1}" if n else None)
            for chain in "ab"
            for n in range(3)
        ]

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        return Prompt(messages=(Message("user", f"{problem.ask} so far: {problem.metadata.get('before', '')}"),))

    def converse(self, problem: Problem, sandbox: Any) -> Any:
        return _Lesson(problem)


class _Lesson:
    def __init__(self, problem: Problem) -> None:
        self.problem, self.said = problem, str(problem.metadata.get("before", ""))
        self.turns = 1 if "?" in problem.id else 2

    async def step(self, turn: ModelTurn) -> Step:
        self.said += turn.text
        self.turns -= 1
        return GoOn((Message("user", "go on"),)) if self.turns else Over(self.said)

    async def aclose(self) -> None:
        pass


@pytest.fixture(autouse=True)
def chained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SUITES, "chained", Chained)
    monkeypatch.setattr(Chained, "read", 0)


def name_and_turn(request: Request) -> Any:
    return f"{request.problem}.{request.turn}.{request.sample} "


async def run(path: Path, planned: Sequence[PlannedSuite], backend: Any, *, resume: bool = False) -> Scores:
    with RunStore.resume(path) if resume else RunStore.create(path, manifest()) as store:
        return await Pipeline(planned, store, FakeJudge(), None, width=2).run(backend)


def stored(path: Path) -> dict[tuple[str, int], Generation]:
    return {(found.problem, found.sample): found for found in RunStore.open(path).generations()}


async def test_each_begins_where_the_one_before_it_ended(tmp_path: Path) -> None:
    planned = plan(RunSpec(suites=("chained",)), chat=True)
    scores = await run(tmp_path / "run", planned, Scripted(name_and_turn))
    found = stored(tmp_path / "run")
    assert len(found) == 2 * (6 + 10)
    so_far = "a0.0.1 a0.1.1 a1.0.1 a1.1.1 a2.0.1 a2.1.1 "
    assert found["a2", 1].answer == so_far
    assert found["a?3", 1].prompt["messages"][0]["content"] == f"what was said? so far: {so_far}"
    assert found["a?3", 1].answer == so_far + "a?3.0.1 "
    assert scores.suites["chained"].n == 10
    assert scores.suites["chained"].outcomes == {"failed": 20}
    assert not scores.partial


async def test_their_tokens_are_paid_for_and_no_ones_mean(tmp_path: Path) -> None:
    planned = plan(RunSpec(suites=("chained",)), chat=True)
    with RunStore.create(tmp_path / "run", manifest()) as store:
        line = Pipeline(planned, store, FakeJudge(), None, width=2)
        scores = await line.run(Scripted(name_and_turn))
    assert scores.suites["chained"].tokens["completion"] == 2
    assert line.tally.total_tokens() == {"completions": 32, "completion": 2 * (24 + 20), "prompt": 440, "truncated": 0}


async def test_only_those_that_are_needed_are_held(tmp_path: Path) -> None:
    planned = plan(RunSpec(suites=("chained",), limit=1, samples=1), chat=True)
    assert [question.problem.id for question in planned[0].prerequisites] == ["a0", "a1", "a2"]
    await run(tmp_path / "run", planned, Scripted(name_and_turn))
    assert len(stored(tmp_path / "run")) == 4
    assert plan(RunSpec(suites=("sums",)), chat=True)[0].prerequisites == ()
    expected = estimate(Member("m", RunSpec(suites=("chained",), limit=1, samples=1)), Measured.of([], tmp_path))
    assert expected.samples == 4


async def test_what_waits_for_a_failure_fails_and_is_owed_again(tmp_path: Path) -> None:
    planned = plan(RunSpec(suites=("chained",), samples=1), chat=True)

    def without_a1(request: Request) -> Any:
        return Failure("gone") if request.problem == "a1" else name_and_turn(request)

    scores = await run(tmp_path / "run", planned, Scripted(without_a1))
    assert scores.suites["chained"].outcomes == {"failed": 5, "infra_error": 5}
    failed = stored(tmp_path / "run")["a?0", 0].error
    assert failed == "a2, which comes before it, failed: a1, which comes before it, failed: turn 1: gone"
    again = Scripted(name_and_turn)
    scores = await run(tmp_path / "run", planned, again, resume=True)
    assert scores.suites["chained"].outcomes == {"failed": 10}
    assert {request.problem for request in again.asked} == {"a1", "a2", *(f"a?{n}" for n in range(5))}
    assert str(stored(tmp_path / "run")["a?0", 0].answer).startswith("a0.0.0 a0.1.0 a1.0.0 ")
    third = Scripted(name_and_turn)
    await run(tmp_path / "run", planned, third, resume=True)
    assert not third.asked


@pytest.mark.usefixtures("data_dir", "bfcl_wheel", "bm25_wheel")
@pytest.mark.parametrize(("keeps", "right"), [(True, 20), (False, 0)])
async def test_who_keeps_what_was_said_can_answer_later(tmp_path: Path, keeps: bool, right: int) -> None:
    """A model that writes down every word and reads all of it out again, and one that only reads.

    Five of the 25 answers are worded otherwise than the user worded them.
    """

    def reply(request: Request) -> Any:
        last = request.prompt.messages[-1]
        if "prereq" not in request.problem:
            return request.prompt.messages[0].content
        if not keeps or last.role == "tool":
            return "I see."
        call = {"name": "memory_append", "arguments": {"text": f"{last.content}\n"}}
        return Completion("", tool_calls=(call,), finish="tool_calls")

    suite = BfclMemory("rec_sum")
    asked = [problem for problem in suite.problems() if problem.cluster == "notetaker"]
    planned = plan(RunSpec(suites=("bfcl_memory:rec_sum",)), chat=True, loaded=[(suite, asked)])
    assert len(planned[0].prerequisites) == 5
    async with await open_sandbox("local", 1) as pool:
        with RunStore.create(tmp_path / "run", manifest()) as store:
            scores = await Pipeline(planned, store, Verifiers(), pool, width=2).run(Scripted(reply, limit=8))
    assert scores.suites["bfcl_memory:rec_sum"].outcomes.get("passed", 0) == right
    assert len(stored(tmp_path / "run")) == 30


@pytest.mark.usefixtures("encoder")
async def test_who_finds_what_it_kept_by_meaning_can_answer_later(tmp_path: Path) -> None:
    """A model that archives what the user says, and answers by the five notes nearest to the question.

    The encoder's weights are random: it finds what shares letters with the question.
    """

    def reply(request: Request) -> Any:
        last = request.prompt.messages[-1]
        if last.role == "tool":
            return last.content
        if "prereq" in request.problem:
            call = {"name": "archival_memory_add", "arguments": {"text": last.content[:2000]}}
        else:
            call = {"name": "archival_memory_retrieve", "arguments": {"query": last.content}}
        return Completion("", tool_calls=(call,), finish="tool_calls")

    suite = BfclMemory("vector")
    asked = [problem for problem in suite.problems() if problem.cluster == "notetaker"]
    planned = plan(RunSpec(suites=("bfcl_memory:vector",)), chat=True, loaded=[(suite, asked)])
    async with await open_sandbox("local", 1) as pool:
        with RunStore.create(tmp_path / "run", manifest()) as store:
            scores = await Pipeline(planned, store, Verifiers(), pool, width=4).run(Scripted(reply, limit=8))
    outcomes = scores.suites["bfcl_memory:vector"].outcomes
    assert outcomes.get("passed", 0) + outcomes.get("failed", 0) == len(asked) == 25
    assert outcomes.get("passed", 0) > 0
    ended = [row.answer[0] for row in stored(tmp_path / "run").values() if "prereq" in row.problem]
    told = sum(1 + len(question.problem.metadata["later"]) for question in planned[0].prerequisites)
    assert max(len(end["archive"]["texts"]) for end in ended) == told == 24
    assert {end["memory"] for end in ended} == {"{}"}
