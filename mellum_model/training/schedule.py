"""The learning rate and the batch size of a step: pure functions of its number, so that a resumed run cannot differ.

Steps are numbered from 0. The seams follow Megatron's: the first step of the decay still has the peak, the end value is
reached by the step after the last. The warm-up does not begin at 0, which would waste a step.
"""

from __future__ import annotations

from math import cos, pi

from .errors import RecipeError
from .recipes import Schedule, Stage


def learning_rate(schedule: Schedule, step: int, steps: int) -> float:
    """The learning rate of step `step` of `steps`."""
    if step < schedule.warmup_steps:
        return schedule.peak * (step + 1) / schedule.warmup_steps
    if schedule.kind == "constant":
        return schedule.peak
    if schedule.kind == "cosine":
        progress = (step - schedule.warmup_steps) / max(1, steps - schedule.warmup_steps)
        return schedule.final + (schedule.peak - schedule.final) * 0.5 * (1 + cos(pi * min(1.0, progress)))
    decay = schedule.decay_steps or 0
    left = max(0, steps - step)
    if left >= decay:
        return schedule.peak
    return schedule.final + (schedule.peak - schedule.final) * left / decay


def step_rows(stage: Stage, step: int, ranks: int = 1) -> int:
    """Rows of step `step` over all ranks: the ramp rounded down to whole rows for every rank."""
    full = stage.batch.tokens // stage.sequence_length
    if stage.batch.ramp_from is None or step >= stage.batch.ramp_steps:
        return full
    first = stage.batch.ramp_from // stage.sequence_length
    rows = first + (full - first) * step // stage.batch.ramp_steps
    return rows // ranks * ranks


def total_steps(stage: Stage, ranks: int = 1) -> int:
    """Steps of the whole stage; where it is given in tokens, the fewest that reach them.

    Raises:
        RecipeError: A step cannot be divided over the ranks.
    """
    for name in ("ramp_from", "tokens"):
        value = getattr(stage.batch, name)
        if value is not None and (value // stage.sequence_length) % ranks:
            raise RecipeError(
                f"batch.{name}: {value // stage.sequence_length} rows cannot be divided over {ranks} ranks"
            )
    if stage.steps is not None:
        return stage.steps
    missing, step = stage.tokens or 0, 0
    while missing > 0 and stage.batch.ramp_from is not None and step < stage.batch.ramp_steps:
        missing -= step_rows(stage, step, ranks) * stage.sequence_length
        step += 1
    return step + max(0, -(-missing // stage.batch.tokens))


def total_tokens(stage: Stage, ranks: int = 1) -> int:
    """Tokens of the whole stage, padding included."""
    steps = total_steps(stage, ranks)
    ramp = min(steps, stage.batch.ramp_steps if stage.batch.ramp_from is not None else 0)
    grown = sum(step_rows(stage, step, ranks) for step in range(ramp)) * stage.sequence_length
    return grown + (steps - ramp) * stage.batch.tokens
