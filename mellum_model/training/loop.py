"""The training loop: one optimiser step after the other, measured, logged, saved, resumable to the bit.

A step's loss is one mean over all labels of the global batch, however it is cut into micro-batches and ranks: each part
counts by its labels, not by its being a part. The router's losses are means over micro-batches.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..model import LossWeights, Mellum
from .arithmetic import peak_flops, routed, token_flops
from .batch import Batch, OpenedData
from .checkpoints import Checkpoints, random_state, set_random_state
from .errors import TrainingStopped
from .metrics import MetricsLog, Watch
from .optimisers import Optimisers
from .ranks import ALONE, Ranks, summed
from .recipes import Losses, Stage
from .resuming import hold_to
from .schedule import learning_rate, step_rows, total_steps


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step did; the line of the log."""

    step: int
    """From 1."""
    steps: int
    tokens: int
    values: dict[str, Any]


class Watcher:
    """Is told what happens; the command line shows it. Does nothing of its own."""

    def begun(self, step: int, steps: int) -> None:
        """Training goes on after `step` of `steps`."""

    def stepped(self, report: StepReport) -> None:
        """A step is done."""

    def evaluated(self, step: int, values: dict[str, Any]) -> None:
        """Held-out rows were evaluated."""

    def alarmed(self, step: int, message: str) -> None:
        """Something calls for a person."""


@dataclass(slots=True)
class Progress:
    """Where a run stands: what a checkpoint holds beside tensors."""

    step: int = 0
    tokens: int = 0
    sources: Counter[str] = field(default_factory=Counter)

    def as_state(self, data: OpenedData, stage: Stage) -> dict[str, Any]:
        """JSON of a checkpoint."""
        return {
            "tokens": self.tokens,
            "sources": dict(self.sources),
            "stream": data.stream.state_dict(),
            "random": random_state(),
            "stage": stage.model_dump(mode="json"),
        }


def train(
    model: Mellum,
    stage: Stage,
    data: OpenedData,
    directory: Path,
    *,
    ranks: Ranks = ALONE,
    resume: bool = False,
    watcher: Watcher | None = None,
    tensorboard: bool = False,
    stop_after: Callable[[int], bool] = lambda step: False,
) -> Progress:
    """Run a stage to its end.

    Args:
        model: With weights, sharded as `ranks` says; trained in place.
        stage: Of the recipe.
        data: Its stream, and held-out rows.
        directory: Takes `metrics.jsonl` and `checkpoints/`.
        ranks: This process among the others.
        resume: Go on from the newest complete checkpoint, if there is one.
        watcher: Told of every step.
        tensorboard: Write event files too.
        stop_after: Whether to stop, checkpointed, after that many steps are done.

    Raises:
        TrainingStopped: A loss that is not finite, a full disk; the last checkpoint is intact and named.
        DataError: The data cannot be read.
        RecipeError: The run was begun with another stage.
    """
    watcher = watcher or Watcher()
    directory.mkdir(parents=True, exist_ok=True)
    optimisers = Optimisers(model, stage.optimiser)
    checkpoints = Checkpoints(directory, stage.checkpoints, model, optimisers)
    progress = Progress()
    last = checkpoints.latest() if resume else None
    if last is not None:
        state = checkpoints.restore(last)
        hold_to(last, state.get("stage", {}), stage.model_dump(mode="json"))
        progress = Progress(state["step"], state["tokens"], Counter(state["sources"]))
        data.stream.load_state_dict(state["stream"])
        set_random_state(state["random"])
    steps = total_steps(stage, ranks.count)
    log = MetricsLog(directory, after_step=progress.step, tensorboard=tensorboard, writes=ranks.leads)
    stepper = Stepper(model, stage, optimisers, ranks)
    watch = Watch(stage.alarms)
    watcher.begun(progress.step, steps)
    try:
        while progress.step < steps and not data.stream.exhausted:
            begin = time.perf_counter()
            tokens = step_rows(stage, progress.step, ranks.count) * stage.sequence_length
            try:
                batch = data.stream.next_batch(tokens)
            except StopIteration:
                break
            values = stepper.step(batch, learning_rate(stage.schedule, progress.step, steps), progress.step + 1)
            progress.step += 1
            progress.tokens += tokens
            progress.sources.update(batch.sources)
            seconds = time.perf_counter() - begin
            values |= stepper.speed(tokens, seconds)
            values["sources"] = dict(batch.sources)
            log.write("step", progress.step, {"tokens": progress.tokens, **values})
            watcher.stepped(StepReport(progress.step, steps, progress.tokens, values))
            for alarm, message in (
                ("loss_spike", watch.loss(values["loss"])),
                ("dead_expert", watch.load(stepper.load)),
            ):
                if message is not None:
                    log.write("alarm", progress.step, {"alarm": alarm, "message": message})
                    watcher.alarmed(progress.step, message)
            ends = progress.step == steps or data.stream.exhausted or _any(stop_after(progress.step), ranks)
            if data.held_out and (ends or progress.step % stage.evaluation.every_steps == 0):
                found = evaluate(model, data.held_out, ranks)
                log.write("evaluation", progress.step, found)
                watcher.evaluated(progress.step, found)
            if ends or progress.step % stage.checkpoints.every_steps == 0:
                path = checkpoints.save(progress.step, progress.as_state(data, stage))
                log.write("checkpoint", progress.step, {"path": str(path.relative_to(directory))})
            if ends:
                break
        if progress.step == 0:
            raise TrainingStopped("the data ended before the first step: there is less than one batch of it")
        checkpoints.settle()
    except TrainingStopped:
        _settle_quietly(checkpoints)
        raise
    finally:
        log.close()
        stepper.close()
    return progress


def _any(wish: bool, ranks: Ranks) -> bool:
    """Whether any rank wishes it: a signal does not reach all of them between the same two steps."""
    return bool(summed(torch.tensor(float(wish), device=ranks.device))) if ranks.count > 1 else wish


def _settle_quietly(checkpoints: Checkpoints) -> None:
    """Let a checkpoint that is being written become whole before the process ends; the first error is the one told."""
    try:
        checkpoints.settle()
    except TrainingStopped:
        return


class Stepper:
    """Does single steps: forward and backward over micro-batches, clipping, update."""

    def __init__(self, model: Mellum, stage: Stage, optimisers: Optimisers, ranks: Ranks) -> None:
        self._model, self._stage, self._optimisers, self._ranks = model, stage, optimisers, ranks
        self._flops = token_flops(model.config, stage.sequence_length)
        self._peak = peak_flops(ranks.device)
        gates = [layer.gate for layer in routed(model)]
        self.load = torch.zeros(len(gates), model.config.num_experts, device=ranks.device)
        """Choices of each expert in the last step, all ranks together: [sparse layers, E]; the MTP head's is last."""
        self._hooks = [gate.register_forward_hook(self._counter(layer)) for layer, gate in enumerate(gates)]

    def _counter(self, layer: int) -> Callable[..., None]:
        def count(module: Any, args: Any, output: tuple[Tensor, Tensor, Tensor]) -> None:
            chosen = output[2].flatten()
            with torch.no_grad():
                self.load[layer].scatter_add_(0, chosen, torch.ones_like(chosen, dtype=torch.float32))

        return count

    def step(self, batch: Batch, lr: float, number: int) -> dict[str, Any]:
        """One update.

        Args:
            batch: This rank's rows.
            lr: Learning rate.
            number: Of the step, for messages.

        Returns:
            The step's measures, over all ranks.

        Raises:
            TrainingStopped: Loss or gradient is not finite; weights are those before the step.
        """
        model, losses = self._model, self._stage.losses
        self.load.zero_()
        batch = batch.to(self._ranks.device)
        micros = list(batch.micro(self._stage.batch.micro))
        learnt = summed(
            torch.tensor([batch.targets(1), batch.targets(2)], dtype=torch.float64, device=self._ranks.device)
        )
        whole = [max(1.0, float(count) / self._ranks.count) for count in learnt]
        sums = torch.zeros(5, dtype=torch.float64, device=self._ranks.device)
        for number_here, micro in enumerate(micros):
            share, weights, mtp_share = part_weights(micro, losses, whole, len(micros))
            self._sync(last=number_here == len(micros) - 1)
            loss = model.loss(micro.input_ids, micro.labels, micro.positions, mask=micro.mask, weights=weights)
            (loss.total * share).backward()  # type: ignore[no-untyped-call]
            zero = loss.next_token.new_zeros(())
            balance, z = (part if part is not None else zero for part in (loss.balance, loss.z))
            mtp, agreement = (part if part is not None else zero for part in (loss.mtp, loss.mtp_agreement))
            parts = (
                loss.next_token * share,
                mtp * mtp_share,
                agreement * mtp_share,
                balance / len(micros),
                z / len(micros),
            )
            sums += torch.stack([part.detach().double() for part in parts])
        norm = self._optimisers.clip_gradients().double()
        summed(self.load)
        measured = (summed(sums) / self._ranks.count).tolist()
        if not math.isfinite(measured[0]) or not math.isfinite(float(norm)):
            self._optimisers.zero_grad()
            what = "loss" if not math.isfinite(measured[0]) else "gradient norm"
            value = measured[0] if what == "loss" else float(norm)
            raise TrainingStopped(
                f"step {number}: the {what} is {value}; nothing was updated with it. Lower schedule.peak or look at "
                "this step's data, and continue from the last checkpoint with --resume"
            )
        self._optimisers.set_learning_rate(lr)
        self._optimisers.step()
        self._optimisers.zero_grad()
        values = {"loss": measured[0], "lr": lr, "grad_norm": float(norm), "rows": batch.rows * self._ranks.count}
        if model.mtp is not None and losses.mtp:
            values |= {"mtp": measured[1], "mtp_agreement": measured[2]}
        if losses.balance:
            values["balance"] = measured[3]
        if losses.z:
            values["z"] = measured[4]
        if self.load.numel():
            share_of_even = self.load / self.load.mean(1, keepdim=True).clamp(min=1e-9)
            values |= {"load_max": float(share_of_even.max()), "load_min": float(share_of_even.min())}
        return values

    def _sync(self, *, last: bool) -> None:
        """Reduce gradients over ranks only after the last micro-batch."""
        if hasattr(self._model, "set_requires_gradient_sync"):
            self._model.set_requires_gradient_sync(last)  # type: ignore[operator]

    def speed(self, tokens: int, seconds: float) -> dict[str, Any]:
        """Tokens a second and the share of the hardware's peak."""
        rate = tokens / seconds
        mfu = None if self._peak is None else rate * self._flops / (self._peak * self._ranks.count)
        return {"seconds": seconds, "tokens_per_s": rate, "mfu": mfu}

    def close(self) -> None:
        """Take the hooks off the model."""
        for hook in self._hooks:
            hook.remove()


def part_weights(micro: Batch, losses: Losses, whole: Sequence[float], micros: int) -> tuple[float, LossWeights, float]:
    """How a micro-batch counts, so that the parts add up to the loss of the whole batch.

    `model.loss` gives means over a micro-batch's own labels. Multiplied by the first number returned, with the weights
    returned, they add up over micro-batches and ranks (whose gradients FSDP averages).

    Args:
        micro: The micro-batch.
        losses: The recipe's weights.
        whole: Labels of the whole batch a rank, one and two tokens ahead.
        micros: Number of micro-batches.
    """
    share = max(1, micro.targets(1)) / whole[0]  # a mean over no label is 0 already
    mtp_share = max(1, micro.targets(2)) / whole[1]
    weights = LossWeights(
        balance=losses.balance / (micros * share),
        balance_form="global",
        z=losses.z / (micros * share),
        mtp=losses.mtp * mtp_share / share,
    )
    return share, weights, mtp_share


@torch.no_grad()
def evaluate(model: Mellum, rows: Sequence[Batch], ranks: Ranks = ALONE) -> dict[str, Any]:
    """Loss of held-out rows, all of them on every rank: sharded models need every rank anyway."""
    sums = [0.0] * 5
    for batch in rows:
        here = batch.to(ranks.device)
        loss = model.loss(here.input_ids, here.labels, here.positions, weights=LossWeights(mtp=1.0))
        labels, labels_2 = batch.targets(1), batch.targets(2)
        sums[0] += float(loss.next_token) * labels
        sums[1] += labels
        if loss.mtp is not None and loss.mtp_agreement is not None:
            sums[2] += float(loss.mtp) * labels_2
            sums[3] += float(loss.mtp_agreement) * labels_2
            sums[4] += labels_2
    found: dict[str, Any] = {"loss": sums[0] / max(1, sums[1]), "labels": int(sums[1])}
    if sums[4]:
        found |= {"mtp": sums[2] / sums[4], "mtp_agreement": sums[3] / sums[4]}
    return found
