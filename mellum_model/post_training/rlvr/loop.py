"""The loop: take a batch, wait for what is missing of its verdicts, learn from it, hand the new weights on.

Three things go on at once: this thread trains, `produce` draws, and environments judge. The log says of every step how
long this thread waited for rollouts and for verdicts.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist

from ...model import Mellum
from ...training.checkpoints import Checkpoints, random_state, set_random_state
from ...training.errors import TrainingStopped
from ...training.metrics import MetricsLog, logged
from ...training.optimisers import Optimisers
from ...training.ranks import Ranks
from ...training.resuming import hold_to
from ...training.schedule import learning_rate
from .environment import Environment
from .gather import Decode, Encode, Gathered, Rollout, gather
from .learn import described, lesson, means
from .mixture import Mixture, validation_asks
from .produce import Drawn, Plan, Producer
from .recipe import RlvrRecipe
from .rollouts import Sampler, snapshot
from .update import Updater

SAMPLES = "rollouts.jsonl"
MASKED_ALARM = 0.2
"""A share of tokens outside the correction's bounds that calls for a person: not rounding, but other weights."""


class RlvrWatcher:
    """Is told what happens; the command line shows it. Does nothing of its own."""

    def begun(self, step: int, steps: int) -> None:
        """Training goes on after `step` of `steps`."""

    def stepped(self, step: int, steps: int, values: Mapping[str, Any]) -> None:
        """A step is done."""

    def validated(self, step: int, values: Mapping[str, Any]) -> None:
        """Held-out tasks were asked with the weights of a step."""

    def alarmed(self, step: int, message: str) -> None:
        """Something calls for a person."""


@dataclass(frozen=True, slots=True)
class Parts:
    """All that a run consists of beside the recipe."""

    model: Mellum
    reference: Mellum | None
    sampler: Sampler
    environments: Mapping[str, Environment]
    encode: Encode
    decode: Decode


@dataclass(slots=True)
class Totals:
    """Sums over steps of this process, for shares of its time."""

    wall: float = 0.0
    rollouts: float = 0.0
    verdicts: float = 0.0
    training: float = 0.0
    steps: int = 0

    def add(self, *, wall: float, rollouts: float, verdicts: float, training: float) -> None:
        """Count one step more."""
        self.wall += wall
        self.rollouts += rollouts
        self.verdicts += verdicts
        self.training += training
        self.steps += 1

    def shares(self) -> dict[str, float]:
        """Of the wall time, by what it was spent on."""
        whole = max(self.wall, 1e-9)
        return {
            "waiting_on_rollouts": self.rollouts / whole,
            "waiting_on_verdicts": self.verdicts / whole,
            "training": self.training / whole,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call of `train_rlvr` came to."""

    step: int
    totals: Totals
    steady: Totals
    """Without the first step of this process, which waits for sandboxes to start and has nothing to overlap with."""
    first: Mapping[str, Any] | None
    """The first validation that the log holds."""
    last: Mapping[str, Any] | None


def train_rlvr(
    parts: Parts,
    recipe: RlvrRecipe,
    directory: Path,
    *,
    ranks: Ranks,
    resume: bool = False,
    watcher: RlvrWatcher | None = None,
    tensorboard: bool = False,
    stop_after: Callable[[int], bool] = lambda step: False,
) -> Outcome:
    """Run to the end of the recipe.

    Args:
        parts: Model, sampler, environments.
        recipe: Says the rest.
        directory: Takes `metrics.jsonl`, `rollouts.jsonl` and `checkpoints/`.
        ranks: This process among the others.
        resume: Go on from the newest complete checkpoint. Batches that were in flight are drawn anew.
        watcher: Told of every step.
        tensorboard: Write event files too.
        stop_after: Whether to stop, checkpointed, after that many steps are done.

    Raises:
        TrainingStopped: A loss that is not finite, a full disk, verifiers that are gone for good; the last checkpoint
            is intact.
    """
    return _Run(parts, recipe, directory, ranks, watcher or RlvrWatcher(), tensorboard).go(resume, stop_after)


class _Run:
    def __init__(
        self, parts: Parts, recipe: RlvrRecipe, directory: Path, ranks: Ranks, watcher: RlvrWatcher, tensorboard: bool
    ) -> None:
        self.parts, self.recipe, self.directory, self.ranks, self.watcher = parts, recipe, directory, ranks, watcher
        self.tensorboard = tensorboard
        for name, parameter in parts.model.named_parameters():
            # The policy loss does not reach the MTP head.
            if name.startswith("mtp.") or (recipe.freeze_router and name.endswith("mlp.gate.weight")):
                parameter.requires_grad_(False)
        self.optimisers = Optimisers(parts.model, recipe.optimiser)
        self.checkpoints = Checkpoints(directory, recipe.checkpoints, parts.model, self.optimisers)
        self.updater = Updater(parts.model, recipe, self.optimisers, ranks, parts.reference)
        self.mixture = Mixture(recipe, parts.environments)
        self.held_out = validation_asks(recipe, parts.environments)[ranks.rank :: ranks.count]
        self.totals, self.steady = Totals(), Totals()
        self.producer: Producer | None = None
        self.log: MetricsLog | None = None

    def go(self, resume: bool, stop_after: Callable[[int], bool]) -> Outcome:
        step = 0
        last = self.checkpoints.latest() if resume else None
        if last is not None:
            state = self.checkpoints.restore(last)
            hold_to(last, state["recipe"], self.recipe.model_dump(mode="json"))
            step = int(state["step"])
            set_random_state(state["random"])
        self.log = MetricsLog(self.directory, after_step=step, tensorboard=self.tensorboard, writes=self.ranks.leads)
        known = {line["step"]: line for line in logged(self.directory) if line["kind"] == "validation"}
        validated = self._agreed(sorted(known))
        plan = Plan(
            step, self.recipe.steps, self.recipe.rollouts.staleness, self.recipe.validation.every_steps,
            frozenset(validated),
        )  # fmt: skip
        self.watcher.begun(step, self.recipe.steps)
        self.producer = producer = Producer(self.parts.sampler, plan, self._batch, self._validation)
        try:
            self._push(step)
            stopped = False
            while step < self.recipe.steps and not stopped:
                step += 1
                self._step(step, known)
                stopped = step < self.recipe.steps and self._any(stop_after(step))
                if stopped or step == self.recipe.steps or step % self.recipe.checkpoints.every_steps == 0:
                    path = self.checkpoints.save(step, self._state())
                    self.log.write("checkpoint", step, {"path": str(path.relative_to(self.directory))})
            if step == self.recipe.steps and plan.validates(step):
                self._until("validation", step, known)
            self.checkpoints.settle()
        finally:
            producer.close()
            self.log.close()
        found = [known[number] for number in sorted(known)]
        return Outcome(step, self.totals, self.steady, found[0] if found else None, found[-1] if found else None)

    def _state(self) -> dict[str, Any]:
        return {"random": random_state(), "recipe": self.recipe.model_dump(mode="json")}

    def _step(self, step: int, known: dict[int, dict[str, Any]]) -> None:
        assert self.log is not None
        begin = time.perf_counter()
        drawn, waited, verdicts = self._until("batch", step, known)
        verdicts += drawn.gathered.wait()
        trained = time.perf_counter()
        rollouts = drawn.gathered.rollouts
        share = self.recipe.batch.prompts // self.ranks.count
        learnt = lesson(rollouts, self.recipe, share)
        lr = learning_rate(self.recipe.schedule, step - 1, self.recipe.steps)
        values = self.updater.step(learnt.examples, lr, step)
        training = time.perf_counter() - trained
        self._push(step)
        seconds = time.perf_counter() - begin
        counts = Counter(
            groups=learnt.groups, dropped_even=learnt.even, dropped_surplus=learnt.surplus,
            dropped_unjudged=learnt.unjudged, dropped_cut=learnt.cut,
        )  # fmt: skip
        sums = self._summed({**described(rollouts), "counts": dict(counts)})
        for totals in (self.totals, self.steady)[: 2 if self.totals.steps else 1]:
            totals.add(wall=seconds, rollouts=waited, verdicts=verdicts, training=training)
        tokens = sum(count["tokens"] for count in sums["domains"].values())
        line = {
            **means(sums),
            **sums["counts"],
            **values,
            "repeated": drawn.gathered.repeated,
            "staleness": step - 1 - drawn.version,
            "seconds": seconds,
            "waiting_on_rollouts_s": waited,
            "waiting_on_verdicts_s": verdicts,
            "training_s": training,
            "drawing_s": drawn.gathered.seconds.drawing,
            "drawing_waits_for_verdicts_s": drawn.gathered.seconds.verdicts,
            "drawing_waits_for_weights_s": drawn.idle,
            "tokens_per_s": tokens / max(seconds, 1e-9),
        }
        self.log.write("step", step, line)
        self._write_samples(step, drawn.version, rollouts)
        self.watcher.stepped(
            step, self.recipe.steps, {**line, **(self.steady if self.steady.steps else self.totals).shares()}
        )
        if values.get("masked_share", 0.0) > MASKED_ALARM:
            self._alarm(
                step, f"{values['masked_share']:.0%} of the tokens are masked: the sampler draws from other weights"
            )
        if not values:
            self._alarm(step, "no group had anything to teach: all rewards of each were equal, or none was judged")

    def _until(self, kind: str, step: int, known: dict[int, dict[str, Any]]) -> tuple[Drawn, float, float]:
        """What was drawn for a step; held-out results that come before it are logged.

        Also the seconds that it waited for it, and those for verdicts on held-out answers.
        """
        assert self.producer is not None and self.log is not None
        waited = verdicts = 0.0
        while True:
            begin = time.perf_counter()
            drawn = self.producer.take()
            waited += time.perf_counter() - begin
            if drawn.kind == "validation":
                verdicts += drawn.gathered.wait()
                self._validated(drawn, known)
            if drawn.kind == kind and drawn.step == step:
                return drawn, waited, verdicts

    def _validated(self, drawn: Drawn, known: dict[int, dict[str, Any]]) -> None:
        assert self.log is not None
        values = means(self._summed(described(drawn.gathered.rollouts)))
        values["drawing_s"] = drawn.gathered.seconds.drawing
        self.log.write("validation", drawn.step, values)
        known[drawn.step] = {"step": drawn.step, **values}
        self.watcher.validated(drawn.step, values)
        first, now = known[min(known)]["pass@1"], values["pass@1"]
        if first is not None and now is not None and now < first - self.recipe.validation.fall_alarm:
            self._alarm(
                drawn.step, f"held-out pass@1 fell to {now:.1%} from {first:.1%}; a lower schedule.peak may help"
            )

    def _alarm(self, step: int, message: str) -> None:
        assert self.log is not None
        self.log.write("alarm", step, {"alarm": "rlvr", "message": message})
        self.watcher.alarmed(step, message)

    def _push(self, version: int) -> None:
        assert self.producer is not None
        self.producer.push(version, snapshot(self.parts.model))

    def _batch(self, step: int) -> Gathered:
        asks = self.mixture.batch(step)[self.ranks.rank :: self.ranks.count]
        return self._gather(asks, self.recipe.batch.group, self.recipe.rollouts.temperature, f"step {step}")

    def _validation(self, version: int) -> Gathered:
        # The seed is the same for every version: what differs between two of them is then the weights alone.
        return self._gather(self.held_out, 1, self.recipe.validation.temperature, "validation")

    def _gather(self, asks: Any, group: int, temperature: float, name: str) -> Gathered:
        return gather(
            self.parts.sampler, self.parts.environments, asks, group=group, encode=self.parts.encode,
            decode=self.parts.decode, temperature=temperature, max_tokens=self.recipe.rollouts.max_tokens,
            seed=f"{self.recipe.seed}/{self.ranks.rank}/{name}",
            stopping=lambda: self.producer is not None and self.producer.stopping,
        )  # fmt: skip

    def _summed(self, sums: dict[str, Any]) -> dict[str, Any]:
        """Counts of all ranks together."""
        if self.ranks.count == 1:
            return sums
        gathered: list[Any] = [None] * self.ranks.count
        dist.all_gather_object(gathered, sums)
        total: dict[str, Any] = {"domains": {}, "outcomes": Counter(), "counts": Counter()}
        for one in gathered:
            total["outcomes"].update(one["outcomes"])
            total["counts"].update(one.get("counts", {}))
            for name, count in one["domains"].items():
                total["domains"].setdefault(name, Counter()).update(count)
        return total

    def _agreed(self, validated: list[int]) -> list[int]:
        """What the leading rank found in the log, which no other rank may be able to read."""
        if self.ranks.count == 1:
            return validated
        held: list[Any] = [validated]
        dist.broadcast_object_list(held, src=0)
        return list(held[0])

    def _any(self, wish: bool) -> bool:
        if self.ranks.count == 1:
            return wish
        wishes: list[Any] = [None] * self.ranks.count
        dist.all_gather_object(wishes, wish)
        return any(wishes)

    def _write_samples(self, step: int, version: int, rollouts: list[Rollout]) -> None:
        """One rollout of each domain now and then, and every attempt to tamper, for people to read."""
        if not self.ranks.leads:
            return
        shown: list[Rollout] = []
        if step % self.recipe.samples_every_steps == 0 or step == 1:
            first: dict[str, Rollout] = {}
            for one in rollouts:
                first.setdefault(one.domain, one)
            shown = list(first.values())
        shown += [one for one in rollouts if one.judged and one.judged.outcome == "tampered" and one not in shown]
        if not shown:
            return
        try:
            with (self.directory / SAMPLES).open("a", encoding="utf-8") as file:
                for one in shown:
                    file.write(json.dumps(_line(one, step, version), ensure_ascii=False) + "\n")
        except OSError as error:
            raise TrainingStopped(f"{self.directory / SAMPLES}: {error.strerror} at step {step}") from None


def _line(one: Rollout, step: int, version: int) -> dict[str, Any]:
    judged = one.judged
    return {
        "step": step,
        "version": version,
        "domain": one.domain,
        "task": one.task.id,
        "asked": one.task.messages[-1].get("content", ""),
        "answer": one.text,
        "turns": len(one.turns),
        "tokens": one.tokens,
        "cut": one.cut,
        "reward": None if judged is None else judged.reward,
        "shaped": one.reward,
        "outcome": None if judged is None else judged.outcome,
        "message": None if judged is None else judged.message,
    }
