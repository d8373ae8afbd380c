"""A run goes on under the recipe that it was begun with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mellum_model.training.errors import RecipeError
from mellum_model.training.recipes import load_recipe
from mellum_model.training.resuming import hold_to

STAGE: dict[str, Any] = load_recipe("nano").stage("pretrain").model_dump(mode="json")


def changed(field: str, value: Any) -> dict[str, Any]:
    head, _, last = field.partition(".")
    return {**STAGE, head: {**STAGE[head], last: value}} if last else {**STAGE, head: value}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sequence_length", 8),
        ("schedule.peak", 1.0),
        ("batch.tokens", 7),
        ("losses.mtp", 0.7),
        ("seed", 9),
        ("optimiser.weight_decay", 0.5),
        ("precision.fp8", "emulated"),
    ],
)
def test_a_field_that_decides_what_is_learnt_is_named(field: str, value: Any) -> None:
    with pytest.raises(RecipeError, match=rf"^{field}: .* when step-00000007 was written; set it back"):
        hold_to(Path("step-00000007"), STAGE, changed(field, value))


@pytest.mark.parametrize(("field", "value"), [("steps", 5), ("batch.micro", 1), ("checkpoints.keep", 9)])
def test_how_long_and_how_fast_may_change(field: str, value: Any) -> None:
    hold_to(Path("step"), STAGE, changed(field, value))
    hold_to(Path("step"), STAGE, STAGE)
