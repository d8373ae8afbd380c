"""An RLVR run's sizes without a GPU and without a model: rollouts, tokens and their arithmetic."""

from __future__ import annotations

from pathlib import Path

from ...config import MellumConfig
from ...model import Mellum
from ...training.arithmetic import token_flops
from ...training.errors import RecipeError
from .recipe import RlvrRecipe
from .run import start_of


def describe(recipe: RlvrRecipe, root: Path, start: Path | None = None) -> str:
    """What a run of the recipe is made of, as text.

    Args:
        recipe: Which.
        root: What its paths are relative to.
        start: Checkpoint to start from, instead of the recipe's. Where neither is there, a 12B recipe is counted with
            the preset of that size.

    Raises:
        RecipeError: The start is not there, and no preset has the recipe's name.
    """
    try:
        config = MellumConfig.load(start if start is not None else start_of(recipe, root))
        of = "the checkpoint it starts from"
    except (RecipeError, OSError):
        if not recipe.name.startswith("mellum2_12b"):
            raise
        config, of = MellumConfig.mellum2_12b(), "the 12B preset: the checkpoint it starts from is not here"
    model = Mellum(config, device="meta")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    drawn = recipe.drawn_prompts * recipe.batch.group
    learnt = recipe.batch.prompts * recipe.batch.group
    most = drawn * recipe.rollouts.max_tokens
    flops = token_flops(config, recipe.rollouts.max_tokens)
    total = sum(section.share for section in recipe.environments.values())
    shares = ", ".join(f"{name} {section.share / total:.0%}" for name, section in recipe.environments.items())
    how = recipe.algorithm
    lines = [
        f"{recipe.name}: {parameters:,} parameters ({of})",
        f"{recipe.steps:,} steps, each {recipe.drawn_prompts:,} prompts x {recipe.batch.group} rollouts = {drawn:,} "
        f"drawn, {learnt:,} at most learnt from, in {recipe.batch.updates} update(s)",
        f"at most {recipe.rollouts.max_tokens:,} tokens an answer: at most {most:,} a step, "
        f"{most * flops:.2e} FLOPs of training a step",
        f"domains: {shares}",
        f"method {how.method}: baseline {how.baseline}, normalised by {how.normalise}, "
        f"clip {how.clip_low}/{how.clip_high}, correction {how.correction.kind}, KL {how.kl}, "
        f"weights at most {recipe.rollouts.staleness} step(s) old",
        f"rollouts by {recipe.rollouts.sampler}; validation of {recipe.validation.tasks:,} tasks every "
        f"{recipe.validation.every_steps:,} steps",
    ]
    return "\n".join(lines)
