"""Learning rate and batch size at their seams."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_training import LENGTH, stage

from mellum_model.training.errors import RecipeError
from mellum_model.training.recipes import Schedule, load_recipe
from mellum_model.training.schedule import learning_rate, step_rows, total_steps, total_tokens

WHD = Schedule(kind="whd", peak=1.0, warmup_steps=4, decay_steps=5)


def test_warm_up_hold_decay_at_the_seams() -> None:
    rates = [learning_rate(WHD, step, 20) for step in range(21)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[14:] == pytest.approx([1.0, 1.0, 0.8, 0.6, 0.4, 0.2, 0.0])


def test_the_reports_schedule() -> None:
    schedule = load_recipe("mellum2_12b").stage("pretrain").schedule
    steps = 323_459
    assert learning_rate(schedule, 0, steps) == pytest.approx(3e-4 / 2000)
    assert learning_rate(schedule, 1999, steps) == learning_rate(schedule, steps - 49_306, steps) == 3e-4
    assert learning_rate(schedule, steps - 49_305, steps) < 3e-4
    assert learning_rate(schedule, steps - 1, steps) == pytest.approx(3e-4 / 49_306)
    assert learning_rate(schedule, steps, steps) == 0


def test_cosine_and_constant_at_the_seams() -> None:
    cosine = Schedule(kind="cosine", peak=3e-5, warmup_steps=10, final=3e-6)
    assert learning_rate(cosine, 9, 110) == pytest.approx(3e-5) == learning_rate(cosine, 10, 110)
    assert learning_rate(cosine, 60, 110) == pytest.approx(16.5e-6)
    assert learning_rate(cosine, 110, 110) == pytest.approx(3e-6)
    assert learning_rate(cosine, 109, 110) > 3e-6
    constant = Schedule(kind="constant", peak=2.0, warmup_steps=2)
    assert [learning_rate(constant, step, 9) for step in (0, 1, 2, 8)] == [1.0, 2.0, 2.0, 2.0]


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 100), st.sampled_from(["whd", "cosine"]))
def test_it_never_leaves_its_bounds_nor_rises_after_the_warm_up(warm: int, decay: int, steps: int, kind: str) -> None:
    schedule = Schedule(kind=kind, peak=1.0, warmup_steps=warm, decay_steps=decay, final=0.1)  # type: ignore[arg-type]
    rates = [learning_rate(schedule, step, steps) for step in range(steps)]
    assert all(0 < rate <= 1 + 1e-12 for rate in rates)
    after = rates[warm:]
    assert all(one >= two - 1e-12 for one, two in itertools.pairwise(after))


def test_the_batch_grows_in_whole_rows() -> None:
    grown = stage(batch__ramp_from=2 * LENGTH, batch__ramp_steps=6)
    assert [step_rows(grown, step) for step in range(8)] == [2, 3, 4, 5, 6, 7, 8, 8]
    assert [step_rows(grown, step, 2) for step in range(8)] == [2, 2, 4, 4, 6, 6, 8, 8]


def test_tokens_and_steps_agree() -> None:
    ramp = {"batch__ramp_from": 2 * LENGTH, "batch__ramp_steps": 6}
    for tokens in (1, 26 * LENGTH, 27 * LENGTH, 28 * LENGTH, 35 * LENGTH, 36 * LENGTH):
        one = stage(**ramp, steps=None, tokens=tokens)
        steps = total_steps(one)
        assert sum(step_rows(one, step) for step in range(steps)) * LENGTH == total_tokens(one) >= tokens
        assert sum(step_rows(one, step) for step in range(steps - 1)) * LENGTH < tokens


def test_the_12b_recipes_ramp_gives_the_reports_tokens() -> None:
    recipe = load_recipe("mellum2_12b")
    assert total_tokens(recipe.stage("pretrain")) / 1e12 == pytest.approx(10.65, abs=0.01)
    assert total_tokens(recipe.stage("long_context")) / 1e9 == pytest.approx(117, abs=1)


def test_rows_that_cannot_be_divided_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"batch\.tokens: 8 rows cannot be divided over 3 ranks"):
        total_steps(stage(), 3)
