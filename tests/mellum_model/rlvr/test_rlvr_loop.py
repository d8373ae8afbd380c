"""The loop on a toy: it learns, is the same when resumed, drops what could not be judged, stops when judging ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rlvr.toy import CONFIG, Evens, parts, recipe

from mellum_model.post_training.rlvr.environment import Judged, Task
from mellum_model.post_training.rlvr.gather import Rollout, Turn
from mellum_model.post_training.rlvr.learn import lesson
from mellum_model.post_training.rlvr.loop import train_rlvr
from mellum_model.post_training.rlvr.mixture import Mixture
from mellum_model.post_training.rlvr.produce import Plan
from mellum_model.training.errors import TrainingStopped
from mellum_model.training.ranks import Ranks

ONE = Ranks(rank=0, count=1, device="cpu", mesh=None)


def lines(directory: Path, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [line for line in found if line["kind"] == kind]


def trained(directory: Path, environment: Evens | None = None, stop: int | None = None, **changes: Any) -> Any:
    settings = recipe(**changes)
    made = parts(settings, environment or Evens())
    resume = (directory / "checkpoints").exists()
    directory.mkdir(exist_ok=True)
    outcome = train_rlvr(made, settings, directory, ranks=ONE, resume=resume, stop_after=lambda step: step == stop)
    return made.model, outcome


def test_it_learns_what_is_rewarded(tmp_path: Path) -> None:
    trained(tmp_path, steps=30, batch={"prompts": 8, "group": 8})
    rewards = [line["reward"] for line in lines(tmp_path, "step")]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.25
    for line in lines(tmp_path, "step"):
        assert line["staleness"] <= 1
        # One model draws and trains: what is left between the two is rounding.
        assert abs(line.get("mismatch_kl", 0.0)) < 0.2
        assert line["waiting_on_verdicts_s"] <= line["seconds"]


def test_resumed_it_is_the_same_run(tmp_path: Path) -> None:
    fixed = {"rollouts": {"max_tokens": 6, "max_batch": 24, "staleness": 0}}
    whole, _ = trained(tmp_path / "whole", **fixed)
    _, stopped = trained(tmp_path / "cut", stop=2, **fixed)
    assert stopped.step == 2
    cut, done = trained(tmp_path / "cut", **fixed)
    assert done.step == 4
    for name, parameter in whole.named_parameters():
        assert torch.equal(parameter, dict(cut.named_parameters())[name]), name
    kept = [(line["step"], line["reward"]) for line in lines(tmp_path / "cut", "step")]
    assert kept == [(line["step"], line["reward"]) for line in lines(tmp_path / "whole", "step")]


def test_what_could_not_be_judged_is_dropped_and_never_a_zero(tmp_path: Path) -> None:
    trained(tmp_path, Evens(lost=5))
    steps = lines(tmp_path, "step")
    assert sum(line["dropped_unjudged"] for line in steps) > 0
    for line in steps:
        judged = line["rollouts"] - line["outcomes"].get("infra_error", 0)
        assert line["dropped_unjudged"] == line["rollouts"] - judged


def test_a_second_turn_is_learnt_from_too(tmp_path: Path) -> None:
    trained(tmp_path, Evens(turns=2))
    assert all(line["turns"] == 2 for line in lines(tmp_path, "step"))


def test_the_same_words_of_one_group_are_judged_once(tmp_path: Path) -> None:
    environment = Evens()
    _, outcome = trained(tmp_path, environment, rollouts={"max_tokens": 1, "max_batch": 24, "staleness": 0})
    steps, validated = lines(tmp_path, "step"), lines(tmp_path, "validation")
    assert sum(line["repeated"] for line in steps) > 0
    judged = sum(line["rollouts"] for line in (*steps, *validated)) - sum(line["repeated"] for line in steps)
    assert environment.answers == judged
    assert all(sum(line["outcomes"].values()) == line["rollouts"] for line in steps)
    assert (outcome.totals.steps, outcome.steady.steps) == (4, 3)


def test_a_first_turn_that_may_go_on_is_asked_of_every_episode(tmp_path: Path) -> None:
    environment = Evens(turns=2)
    trained(tmp_path, environment, rollouts={"max_tokens": 1, "max_batch": 24, "staleness": 0})
    assert environment.answers == sum(
        2 * line["rollouts"] for k in ("step", "validation") for line in lines(tmp_path, k)
    )


def test_it_stops_where_judging_has_become_impossible(tmp_path: Path) -> None:
    with pytest.raises(TrainingStopped, match="the verifier is gone; mend that and continue with --resume"):
        trained(tmp_path, Evens(broken_after=100))


@pytest.mark.parametrize("staleness", [0, 1, 2])
def test_weights_are_never_older_than_allowed(staleness: int) -> None:
    plan = Plan(0, 10, staleness, 5, frozenset())
    drawn = {step: version for version in range(11) for step in plan.batches(version)}
    assert sorted(drawn) == list(range(1, 11))
    assert all(0 <= step - 1 - version <= staleness for step, version in drawn.items())


def test_shares_hold_over_any_stretch() -> None:
    settings = recipe(environments={"a": {"kind": "x", "share": 3}, "b": {"kind": "x", "share": 1}})
    mixture = Mixture(settings, {"a": Evens(), "b": Evens()})
    asked = [ask.domain for number in range(1, 9) for ask in mixture.batch(number)]
    for end in range(1, len(asked) + 1):
        assert abs(asked[:end].count("a") - 0.75 * end) <= 1
    again = Mixture(settings, {"a": Evens(), "b": Evens()})
    assert [ask.task.id for ask in again.batch(5)] == [
        ask.task.id for ask in Mixture(settings, {"a": Evens(), "b": Evens()}).batch(5)
    ]


def rollout(group: int, reward: float | None, *, cut: bool = False) -> Rollout:
    one = Rollout("d", Task("t", ({"role": "user", "content": "1"},)), group, cut=cut)
    one.turns = [Turn([1, 2], [3, 4], [-0.1, -0.2])]
    one.judged = Judged(reward, None if reward is None else reward == 1, "passed")
    return one


def test_a_lesson_leaves_out_what_teaches_nothing() -> None:
    even = [rollout(0, 1.0) for _ in range(4)]
    mixed = [rollout(1, value) for value in (1.0, 0.0, 0.0, None)]
    late = [rollout(2, value) for value in (1.0, 0.0)]
    found = lesson([*even, *mixed, *late], recipe(), 1)
    assert (found.even, found.groups, found.surplus, found.unjudged) == (1, 1, 1, 1)
    # Leave one out of (1, 0, 0): 1 - 0, 0 - 1/2, 0 - 1/2.
    assert [one.advantage for one in found.examples] == [1.0, -0.5, -0.5]
    dropped = lesson(
        [rollout(0, 1.0), rollout(0, 0.0, cut=True)], recipe(algorithm={"over_cap": "drop", "concision": None}), 4
    )
    assert (dropped.cut, [one.advantage for one in dropped.examples]) == (1, [1.0])


def test_scores_of_tokens_are_those_of_the_logits() -> None:
    from mellum_model import Mellum

    torch.manual_seed(1)
    model = Mellum(CONFIG).train()
    ids = torch.randint(0, 24, (3, 10))
    wanted = torch.rand(3, 10) > 0.5
    wanted[:, 0] = False
    expected = (model(ids)[:, :-1] / 0.7).log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0][wanted[:, 1:]]
    for together in (4096, 3):
        found = model.token_scores(ids, wanted, temperature=0.7, together=together)
        torch.testing.assert_close(found.logprobs, expected, atol=1e-5, rtol=1e-5)
