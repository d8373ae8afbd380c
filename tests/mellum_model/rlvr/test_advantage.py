"""Advantages of groups and penalties on rewards, by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mellum_model.post_training.rlvr.advantage import advantages, is_even
from mellum_model.post_training.rlvr.algorithm import Algorithm, Concision, Overlong
from mellum_model.post_training.rlvr.shaping import concision_multiplier, overlong_penalty, shaped

REWARDS = st.lists(st.floats(-1, 1), min_size=2, max_size=16)


def test_each_is_measured_against_the_others() -> None:
    assert advantages([1.0, 0.0, 0.0, 0.5], Algorithm()) == pytest.approx([1 - 0.5 / 3, -0.5, -0.5, 0.5 - 1 / 3])


def test_against_the_whole_group_and_scaled() -> None:
    assert advantages([1.0, 0.0], Algorithm(baseline="mean")) == [0.5, -0.5]
    scaled = advantages([1.0, 0.0, 0.5], Algorithm(baseline="mean", scale_by_std=True))
    assert scaled == pytest.approx([1.0, -1.0, 0.0], abs=1e-5)  # the deviation is 0.5


@given(REWARDS)
def test_leaving_one_out_is_the_centred_reward_times_n_over_n_minus_1(rewards: list[float]) -> None:
    own = advantages(rewards, Algorithm())
    centred = advantages(rewards, Algorithm(baseline="mean"))
    n = len(rewards)
    assert own == pytest.approx([value * n / (n - 1) for value in centred], abs=1e-9)
    assert sum(own) == pytest.approx(0, abs=1e-9)


@given(st.floats(0, 1), st.integers(0, 9))
def test_an_even_group_has_no_advantage(reward: float, count: int) -> None:
    assert is_even([reward] * count)
    for scale in (False, True):
        assert advantages([reward] * count, Algorithm(scale_by_std=scale)) == pytest.approx([0.0] * count, abs=1e-9)


def test_a_group_of_one_is_even() -> None:
    assert is_even([1.0]) and advantages([1.0], Algorithm()) == [0.0]
    assert not is_even([1.0, 0.9])


@pytest.mark.parametrize(("tokens", "penalty"), [(1, 0), (80, 0), (81, -0.025), (90, -0.25), (100, -0.5), (120, -0.5)])
def test_the_penalty_falls_over_the_buffer(tokens: int, penalty: float) -> None:
    assert overlong_penalty(tokens, 100, Overlong(buffer=20, floor=-0.5)) == pytest.approx(penalty)


def test_no_buffer_is_no_penalty() -> None:
    assert overlong_penalty(100, 100, Overlong()) == 0


@pytest.mark.parametrize(
    ("text", "multiplier"),
    [
        ("The answer is 4.", 1.0),
        ("Wait, the answer is 4.", 0.8),
        ("Hmm. Let me think: 4, actually.", 0.5),
        ("wait\nWAIT", 0.8),
        ("The waiter awaits: factually 4.", 1.0),
        ("hold   on", 1.0),
    ],
)
def test_thinking_aloud_costs(text: str, multiplier: float) -> None:
    assert concision_multiplier(text, Concision()) == multiplier


def test_only_correct_answers_without_reasoning_are_made_concise() -> None:
    def reward(correct: bool, thinking: bool) -> float:
        return shaped(
            0.5, text="wait", tokens=10, cap=100, correct=correct, thinking=thinking, overlong=Overlong(),
            concision=Concision(),
        )  # fmt: skip

    assert reward(True, False) == 0.4
    assert reward(False, False) == reward(True, True) == reward(False, True) == 0.5


def test_fields_win_over_their_method() -> None:
    how = Algorithm.model_validate({"method": "dapo", "scale_by_std": False, "clip_high": 0.3})
    assert (how.scale_by_std, how.clip_high, how.correction.kind) == (False, 0.3, "none")


def test_tiers_must_fit() -> None:
    with pytest.raises(ValidationError, match="one multiplier more"):
        Concision(bounds=(1,), multipliers=(1.0,))
    with pytest.raises(ValidationError, match="bounds must rise"):
        Concision(bounds=(3, 1))
