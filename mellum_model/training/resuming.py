"""Whether a training run can go on: what it was begun with must be what the recipe says now, or it is another run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from .errors import RecipeError

MAY_CHANGE = frozenset({
    "steps", "tokens", "start_from", "checkpoints", "evaluation", "validation", "alarms", "parallel", "compile",
    "activation_checkpointing", "export_dtype", "samples_every_steps", "batch.micro", "batch.micro_tokens",
    "rollouts.max_batch",
})  # fmt: skip
"""How long, how fast, how often written: not what is learnt from what, and how. A longer run keeps what it has done."""


def hold_to(checkpoint: Path, begun: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Hold a recipe to the one that a checkpoint was written under.

    Args:
        checkpoint: For the message.
        begun: The recipe's fields then, as JSON data.
        now: The same now.

    Raises:
        RecipeError: A field differs that decides what is learnt; names it.
    """
    for field, before, after in _differences(begun, now, MAY_CHANGE):
        raise RecipeError(
            f"{field}: {_short(after)} now, and {_short(before)} when {checkpoint} was written; "
            "set it back, or begin another run with another --out"
        )


def _differences(
    begun: Mapping[str, Any], now: Mapping[str, Any], free: Collection[str], path: str = ""
) -> list[tuple[str, Any, Any]]:
    found: list[tuple[str, Any, Any]] = []
    for name in [*now, *(name for name in begun if name not in now)]:
        field = f"{path}{name}"
        before, after = begun.get(name), now.get(name)
        if field in free or before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += _differences(before, after, free, f"{field}.")
        else:
            found.append((field, before, after))
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
