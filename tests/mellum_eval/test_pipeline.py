"""A run asks for what is missing, judges what is unjudged, and scores the same whatever happened on the way."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from pipeline_fakes import FakeJudge, Late, Scripted, Sums, manifest, ours

from mellum_eval import pipeline as module
from mellum_eval.backends.base import Failure, Request
from mellum_eval.backends.mock import MockBackend
from mellum_eval.backends.replay import ReplayBackend
from mellum_eval.errors import PrerequisiteMissing, UserError
from mellum_eval.pipeline import Pipeline
from mellum_eval.plan import PlannedSuite, plan
from mellum_eval.records import Scores
from mellum_eval.spec import BackendOptions, RunSpec
from mellum_eval.store import RunStore
from sandboxes.errors import SandboxError
from sandboxes.verdict import Outcome

pytestmark = pytest.mark.usefixtures("fake_suites")


def planned(*suites: str, **spec: Any) -> list[PlannedSuite]:
    return plan(RunSpec(suites=suites or ("sums",), **spec), chat=True)


async def run(
    path: Path, backend: Any, suites: list[PlannedSuite] | None = None, judge: FakeJudge | None = None, width: int = 4
) -> Scores:
    store = RunStore.resume(path) if path.exists() else RunStore.create(path, manifest())
    with store:
        line = Pipeline(suites or planned(), store, judge or FakeJudge(), None, width=width)
        return await line.run(backend)


def gold(request: Request) -> str:
    return request.gold or ""


async def test_every_sample_is_asked_once_and_judged_once(tmp_path: Path) -> None:
    backend, judge = Scripted(gold), FakeJudge()
    scores = await run(tmp_path / "r", backend, planned("sums", "late"), judge)
    assert len(backend.asked) == len(judge.seen) == 20 + 20 * 4
    assert len({(r.key, r.sample) for r in backend.asked}) == 100
    assert not scores.partial
    assert scores.suites["sums"].metrics["accuracy"].value == 1.0
    assert scores.suites["late"].outcomes == {"passed": 80}


async def test_every_sample_has_its_own_seed_and_keeps_it(tmp_path: Path) -> None:
    first, second = Scripted(gold), Scripted(gold)
    await run(tmp_path / "a", first, planned("late"))
    await run(tmp_path / "b", second, planned("late"))
    seeds = {(r.problem, r.sample): r.sampling.seed for r in first.asked}
    assert len(set(seeds.values())) == 80
    assert seeds == {(r.problem, r.sample): r.sampling.seed for r in second.asked}


async def test_generation_and_judging_overlap_and_the_queue_holds_the_backend_back(tmp_path: Path) -> None:
    gate = asyncio.Event()
    judge = FakeJudge()

    async def verify(check: Any, answer: Any) -> Any:
        await gate.wait()
        return await FakeJudge.verify(judge, check, answer)

    judge.verify = verify  # type: ignore[method-assign]
    backend = Scripted(gold)
    suites = planned("late", samples=30)
    task = asyncio.create_task(run(tmp_path / "r", backend, suites, judge, width=2))
    for _ in range(200):
        await asyncio.sleep(0.005)
    stalled = len(backend.asked)
    assert module.QUEUED <= stalled <= module.QUEUED + 2 + 4 + 4  # the queue, those being judged, those being made
    gate.set()
    assert not (await task).partial
    assert len(backend.asked) == 600


async def test_no_more_answers_are_judged_at_once_than_asked_for(tmp_path: Path) -> None:
    judge = FakeJudge(delay_s=0.002)
    await run(tmp_path / "r", Scripted(gold), judge=judge, width=3)
    assert judge.most == 3


async def test_the_order_of_replies_leaves_no_trace_in_the_scores(tmp_path: Path) -> None:
    files = set()
    for number in range(3):
        await run(tmp_path / str(number), Scripted(lambda r: gold(r) if r.sample % 2 else "x"), planned("sums", "late"))
        files.add((tmp_path / str(number) / "scores.json").read_bytes())
    assert len(files) == 1


async def test_a_run_that_was_stopped_anywhere_ends_with_the_same_scores(tmp_path: Path) -> None:
    suites = planned("sums", "late")
    await run(tmp_path / "whole", Scripted(gold), suites)
    whole = (tmp_path / "whole" / "scores.json").read_bytes()
    rng, tries = random.Random(1), 0
    asked: list[Request] = []
    while True:
        backend = Scripted(gold)
        task = asyncio.create_task(run(tmp_path / "r", backend, suites, FakeJudge(delay_s=0.006)))
        try:
            await asyncio.wait_for(task, rng.uniform(0.005, 0.03) * (1 + tries / 5))
        except TimeoutError:
            tries += 1
            assert RunStore.open(tmp_path / "r").scores().partial  # type: ignore[union-attr]
        asked += backend.asked
        if task.done() and not task.cancelled():
            break
    assert tries > 2
    assert (tmp_path / "r" / "scores.json").read_bytes() == whole
    kept = [(g.key, g.sample) for g in RunStore.open(tmp_path / "r").generations()]
    assert len(kept) == len(set(kept)) == 100
    lines = (tmp_path / "r" / "generations.jsonl").read_bytes().splitlines()
    assert len(lines) == 100, "a finished sample was made twice"
    assert len((tmp_path / "r" / "verdicts.jsonl").read_bytes().splitlines()) == 100


async def test_what_failed_for_one_request_is_infra_and_owed_again(tmp_path: Path) -> None:
    bad = {"sum/3", "sum/4"}
    scores = await run(tmp_path / "r", Scripted(lambda r: Failure("500") if r.problem in bad else gold(r)))
    suite = scores.suites["sums"]
    assert suite.n == 18 and suite.metrics["accuracy"].value == 1.0
    assert suite.outcomes == {"passed": 18, "infra_error": 2} and suite.infra_error_rate == 0.1
    backend = Scripted(gold)
    scores = await run(tmp_path / "r", backend)
    assert {r.problem for r in backend.asked} == bad
    assert scores.suites["sums"].outcomes == {"passed": 20}


async def test_an_infra_verdict_is_tried_again_then_left_out_then_owed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "INFRA_PAUSE_S", 0.001)
    judge = FakeJudge(lambda answer: ours() if answer == "6" else None)
    scores = await run(tmp_path / "r", Scripted(gold), judge=judge)
    assert judge.seen.count("6") == module.INFRA_TRIES
    assert scores.suites["sums"].outcomes == {"passed": 19, "infra_error": 1}
    backend = Scripted(gold)
    scores = await run(tmp_path / "r", backend)
    assert backend.asked == []
    assert scores.suites["sums"].outcomes == {"passed": 20}
    left = [True]
    flaky = FakeJudge(lambda answer: ours() if answer == "6" and left and left.pop() else None)
    assert (await run(tmp_path / "s", Scripted(gold), judge=flaky)).suites["sums"].outcomes == {"passed": 20}


async def test_a_model_that_goes_away_keeps_what_it_answered(tmp_path: Path) -> None:
    def reply(request: Request) -> str:
        if request.problem == "sum/15":
            raise PrerequisiteMissing("gone", "start it")
        return gold(request)

    with pytest.raises(PrerequisiteMissing, match="gone"):
        await run(tmp_path / "r", Scripted(reply))
    done = len(list(RunStore.open(tmp_path / "r").generations()))
    assert 11 <= done <= 19
    backend = Scripted(gold)
    assert not (await run(tmp_path / "r", backend)).partial
    assert len(backend.asked) == 20 - done


async def test_a_suite_that_cannot_make_its_checks_is_a_missing_prerequisite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def prepare(self: Any, sandbox: Any, *, wanted: Any = None) -> Any:
        raise SandboxError("all containers lost")

    monkeypatch.setattr(Late, "prepare", prepare)
    with RunStore.create(tmp_path / "r", manifest()) as store:
        line = Pipeline(planned("late"), store, FakeJudge(), object(), width=2)  # type: ignore[arg-type]
        with pytest.raises(PrerequisiteMissing, match="all containers lost"):
            await line.run(Scripted(gold))


async def test_checks_made_in_the_sandbox_are_those_that_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Late, "problems", Sums.problems)

    async def prepare(self: Any, sandbox: Any, *, wanted: Any = None) -> Any:
        await asyncio.sleep(0.02)
        from dataclasses import replace

        from sandboxes.check import ExactCheck

        return [replace(p, check=ExactCheck(kind="exact", answer="made")) for p in self.problems()]

    monkeypatch.setattr(Late, "prepare", prepare)
    with RunStore.create(tmp_path / "r", manifest()) as store:
        line = Pipeline(planned("late"), store, FakeJudge(), object(), width=2)  # type: ignore[arg-type]
        scores = await line.run(Scripted(lambda r: "made"))
    assert scores.suites["late"].outcomes == {"passed": 80}


async def test_a_suites_own_defect_is_nobodys_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(self: Any, problem: Any, text: str, tool_calls: Any = ()) -> str:
        if problem.id == "sum/1":
            raise IndexError("oops")
        return text

    monkeypatch.setattr(Sums, "answer", answer)
    scores = await run(tmp_path / "r", Scripted(gold))
    assert scores.suites["sums"].outcomes == {"passed": 19, "infra_error": 1}


async def test_rescoring_judges_all_again_and_writes_nothing(tmp_path: Path) -> None:
    await run(tmp_path / "r", Scripted(lambda r: Failure("x") if r.problem == "sum/0" else gold(r)))
    before = (tmp_path / "r" / "verdicts.jsonl").read_bytes()
    with RunStore.resume(tmp_path / "r") as store:
        line = Pipeline(planned(), store, FakeJudge(lambda a: None if a != "4" else ours()), None, width=4)
        module.INFRA_PAUSE_S, pause = 0.001, module.INFRA_PAUSE_S
        scores, made = await line.rescore()
        module.INFRA_PAUSE_S = pause
    assert scores.suites["sums"].outcomes == {"passed": 18, "infra_error": 2}
    assert [j.problem for j in made] == [f"sum/{n}" for n in range(20)]
    assert (tmp_path / "r" / "verdicts.jsonl").read_bytes() == before


async def test_a_replay_answers_as_the_model_did(tmp_path: Path) -> None:
    options = BackendOptions()
    await run(tmp_path / "r", MockBackend("mixed", options), planned("sums", "late"))
    await run(tmp_path / "again", ReplayBackend(tmp_path / "r"), planned("sums", "late"))
    assert (tmp_path / "again" / "scores.json").read_bytes() == (tmp_path / "r" / "scores.json").read_bytes()
    other = await run(tmp_path / "other", ReplayBackend(tmp_path / "r"), planned("sums", max_tokens=7))
    assert other.suites["sums"].outcomes == {"infra_error": 20}


@pytest.mark.parametrize(("name", "right"), [("gold", 20), ("empty", 0), ("mixed", 14), ("mixed,share=0.5", 10)])
async def test_mock_models_are_right_as_often_as_they_say(tmp_path: Path, name: str, right: int) -> None:
    scores = await run(tmp_path / "r", MockBackend(name, BackendOptions()))
    assert scores.suites["sums"].outcomes.get("passed", 0) == right


@pytest.mark.parametrize("name", ["silver", "gold,share=2", "gold,nope=1", "gold,latency=x", "gold,share=nan"])
def test_a_mock_model_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="mock:"):
        MockBackend(name, BackendOptions())


def test_several_temperatures_are_rows_of_their_own() -> None:
    rows = planned("sums", temperature=(0.0, 0.8), samples=2)
    assert [row.name for row in rows] == ["sums@t0", "sums@t0.8"]
    assert [row.sampling.temperature for row in rows] == [0.0, 0.8]
    assert not {q.key for q in rows[0].questions} & {q.key for q in rows[1].questions}
    (alone,) = planned("sums", temperature=(0.8,))
    assert {q.key for q in alone.questions} == {q.key for q in rows[1].questions}


def test_a_limit_is_spread_over_the_suite() -> None:
    assert [q.problem.id for q in planned(limit=4)[0].questions] == ["sum/0", "sum/5", "sum/10", "sum/15"]
    assert len(planned(limit=99)[0].questions) == 20


async def test_outcomes_of_an_empty_answer_count_as_unparsed(tmp_path: Path) -> None:
    scores = await run(tmp_path / "r", MockBackend("mixed", BackendOptions()))
    assert scores.suites["sums"].unparsed_rate == 0.3
    assert set(scores.suites["sums"].outcomes) == {Outcome.PASSED, Outcome.UNPARSED}
