"""The loop: it learns, its loss does not depend on how a batch is cut, and what goes wrong is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import CONFIG, LENGTH, Counting, stage

from mellum_model import Mellum
from mellum_model.model import LossWeights
from mellum_model.training.batch import Batch, OpenedData
from mellum_model.training.errors import TrainingStopped
from mellum_model.training.loop import Stepper, evaluate, part_weights, train
from mellum_model.training.optimisers import Optimisers
from mellum_model.training.prepare import build
from mellum_model.training.ranks import Ranks
from mellum_model.training.recipes import Losses


def fresh(seed: int = 0, **changes: Any) -> Mellum:
    return build(CONFIG, stage(seed=seed, **changes), Ranks())


def lines(directory: Path, kind: str = "step") -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (directory / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [line for line in found if line["kind"] == kind]


def weights(model: Mellum) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_it_learns_and_logs(tmp_path: Path, kind: str) -> None:
    held_out = [Counting().next_batch(4 * LENGTH)]
    plan = stage(steps=40, optimiser__kind=kind, evaluation__every_steps=20)
    model = fresh()
    before = evaluate(model, held_out)["loss"]
    done = train(model, plan, OpenedData(Counting(), held_out), tmp_path)
    steps = lines(tmp_path)
    assert done.step == 40 == len(steps) and done.tokens == 40 * 8 * LENGTH == done.sources["counter"]
    assert [line["step"] for line in steps] == list(range(1, 41))
    assert before > 4 and steps[0]["loss"] > 4 and steps[-1]["loss"] < 2.5
    assert [line["step"] for line in lines(tmp_path, "evaluation")] == [20, 40]
    assert lines(tmp_path, "evaluation")[-1]["loss"] < 2.5
    assert steps[0]["lr"] == 0.005 and steps[1]["lr"] == 0.01
    assert {"mtp", "mtp_agreement", "balance", "z", "grad_norm", "tokens_per_s", "mfu", "load_min"} <= set(steps[0])


@pytest.mark.parametrize("packed", [False, True])
def test_parts_of_a_batch_add_up_to_its_gradient(packed: bool) -> None:
    torch.manual_seed(0)
    batch = Counting(packed=packed).next_batch(6 * LENGTH)
    labels = batch.labels.clone()
    labels[0] = -100  # a row from which nothing is learnt
    labels[1, 3:] = -100
    batch = Batch(batch.input_ids, labels, batch.positions)
    losses = Losses(mtp=0.3, balance=0.0, z=0.2)
    model = fresh()
    whole = LossWeights(mtp=0.3, balance=0.0, z=0.2)
    model.loss(batch.input_ids, batch.labels, batch.positions, weights=whole).total.backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}  # type: ignore[union-attr]
    for rows in (1, 2, 3):
        model.zero_grad()
        parts = list(batch.micro(rows))
        for part in parts:
            share, weights_, _ = part_weights(part, losses, [batch.targets(1), batch.targets(2)], len(parts))
            loss = model.loss(part.input_ids, part.labels, part.positions, weights=weights_)
            (share * loss.total).backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(parameter.grad, expected[name], atol=2e-6, rtol=1e-4, msg=name)


def test_the_logged_loss_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    batch = Counting().next_batch(8 * LENGTH)
    loss = fresh().loss(batch.input_ids, batch.labels)
    train(fresh(), stage(steps=1, batch__micro=3), OpenedData(Counting()), tmp_path)
    line = lines(tmp_path)[0]
    assert line["loss"] == pytest.approx(float(loss.next_token), rel=1e-5)
    assert loss.mtp is not None and line["mtp"] == pytest.approx(float(loss.mtp), rel=1e-5)


def test_activation_checkpointing_changes_no_bit_and_routes_once() -> None:
    calls: list[int] = []

    class Counted(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            calls.append(function is torch.ops.aten.topk.default)
            return function(*args, **(kwargs or {}))

    batch = Counting().next_batch(4 * LENGTH)
    found = []
    for recompute in (False, True):
        model = fresh(activation_checkpointing=recompute)
        calls.clear()
        with Counted():
            model.loss(batch.input_ids, batch.labels, weights=LossWeights(z=0.1)).total.backward()
        found.append(({name: parameter.grad for name, parameter in model.named_parameters()}, sum(calls), len(calls)))
    (plain, plain_topk, plain_calls), (kept, kept_topk, kept_calls) = found
    assert kept_calls > 1.2 * plain_calls, "nothing was computed again"
    assert kept_topk == plain_topk, "the router chose a second time"
    for name in plain:
        assert torch.equal(plain[name], kept[name]), name  # type: ignore[arg-type]


def test_a_loss_that_is_not_finite_stops_with_the_step_and_the_last_checkpoint(tmp_path: Path) -> None:
    class Poisoned(Counting):
        def __init__(self, model: Mellum) -> None:
            super().__init__()
            self.model = model

        def next_batch(self, tokens: int) -> Batch:
            if self.at == 4 * 8:
                with torch.no_grad():
                    self.model.norm.weight[0] = float("nan")
            return super().next_batch(tokens)

    model = fresh()
    with pytest.raises(TrainingStopped, match=r"step 5: the loss is nan; .*--resume"):
        train(model, stage(), OpenedData(Poisoned(model)), tmp_path)
    resumed = fresh()
    done = train(resumed, stage(), OpenedData(Counting()), tmp_path, resume=True)
    assert done.step == 6
    straight = fresh()
    train(straight, stage(), OpenedData(Counting()), tmp_path / "straight")
    for name, value in weights(straight).items():
        assert torch.equal(value, weights(resumed)[name]), name


def test_resuming_goes_on_to_the_bit(tmp_path: Path) -> None:
    whole, model = fresh(), fresh()
    train(whole, stage(), OpenedData(Counting()), tmp_path / "whole")
    train(model, stage(), OpenedData(Counting()), tmp_path / "cut", stop_after=lambda step: step == 3)
    again = fresh(seed=5)  # other weights: all must come from the checkpoint
    train(again, stage(), OpenedData(Counting()), tmp_path / "cut", resume=True)
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(again)[name]), name
    losses = [[line["loss"] for line in lines(tmp_path / name)] for name in ("whole", "cut")]
    assert losses[0] == losses[1]


def test_data_that_ends_ends_the_stage(tmp_path: Path) -> None:
    done = train(fresh(), stage(), OpenedData(Counting(rows=20)), tmp_path)
    assert done.step == 2
    with pytest.raises(TrainingStopped, match="less than one batch"):
        train(fresh(), stage(), OpenedData(Counting(rows=3)), tmp_path / "none")


def test_alarms_name_the_spike_and_the_dead_expert(tmp_path: Path) -> None:
    from mellum_model.training.metrics import Watch
    from mellum_model.training.recipes import Alarms

    watch = Watch(Alarms(window=16, spike_sigma=5, dead_share=0.2))
    messages = [watch.loss(2.0 + 0.01 * (step % 3)) for step in range(16)]
    assert messages == [None] * 16
    assert "standard deviations above" in (watch.loss(4.0) or "")
    assert watch.loss(1.0) is None
    counts = torch.full((2, 4), 10.0)
    counts[1, 2] = 1
    found = [watch.load(counts) for _ in range(16)]
    assert found[:15] == [None] * 15 and "experts 2 of layer 1 got under 20%" in (found[15] or "")


def test_the_load_is_counted_for_every_layer_and_the_head() -> None:
    plan = stage()
    model = fresh()
    stepper = Stepper(model, plan, Optimisers(model, plan.optimiser), Ranks())
    stepper.step(Counting().next_batch(8 * LENGTH), 0.0, 1)
    assert stepper.load.sum(1).tolist() == [8 * LENGTH * 2, 8 * LENGTH * 2, 8 * (LENGTH - 1) * 2]
    stepper.close()


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    train(fresh(), stage(steps=2), OpenedData(Counting()), tmp_path)
    shard = next((tmp_path / "checkpoints" / "step-00000002").glob("*.distcp"))
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(TrainingStopped, match=r"step-00000002: cannot be resumed from: .*remove it to go on"):
        train(fresh(), stage(), OpenedData(Counting()), tmp_path, resume=True)


def test_tensorboard_gets_the_same_numbers(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(fresh(), stage(steps=2), OpenedData(Counting()), tmp_path, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars("step/loss")]
    assert found == [(line["step"], pytest.approx(line["loss"], rel=1e-6)) for line in lines(tmp_path)]
