"""The policy loss against sums written out by hand, and that it does not depend on how a batch is cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mellum_model.post_training.rlvr.algorithm import Algorithm
from mellum_model.post_training.rlvr.loss import PolicyLoss, Whole, policy_loss

# Two sequences, of two tokens and of three.
NEW = [-1.0, -0.5, -2.0, -0.1, -0.7]
OLD = [-1.2, -0.5, -1.5, -0.1, -1.2]
DRAWN = [-1.2, -0.4, -1.5, -1.9, -1.2]  # the fourth token's rho is e^1.8 = 6.05
ADVANTAGE = [1.0, 1.0, -0.5, -0.5, -0.5]
SEQUENCE = [0, 0, 1, 1, 1]
WHOLE = Whole(tokens=5, sequences=2, cap=10)


def loss(how: Algorithm, *, whole: Whole = WHOLE, reference: list[float] | None = None, **parts: Any) -> PolicyLoss:
    values = {"new": NEW, "old": OLD, "drawn": DRAWN, "advantage": ADVANTAGE, **parts}
    tensors = [torch.tensor(values[name], dtype=torch.float64) for name in ("new", "old", "drawn", "advantage")]
    sequence = torch.tensor(parts.get("sequence", SEQUENCE))
    known = None if reference is None else torch.tensor(reference, dtype=torch.float64)
    return policy_loss(*tensors, sequence, whole, how, known)


def by_hand(clip_low: float = 0.2, clip_high: float = 0.28) -> Any:
    """Each token's clipped gain, without any correction."""
    ratio = np.exp(np.array(NEW) - np.array(OLD))
    advantage = np.array(ADVANTAGE)
    return np.minimum(ratio * advantage, np.clip(ratio, 1 - clip_low, 1 + clip_high) * advantage)


def test_mellums_own() -> None:
    weight = np.exp(np.array(OLD) - np.array(DRAWN))
    assert weight[3] > 5
    weight[3] = 0
    found = loss(Algorithm())
    assert float(found.loss) == pytest.approx(-(weight * by_hand()).sum() / 5)
    assert int(found.masked) == 1
    # Below 0.8 with a negative advantage is the third token; above 1.28 with a positive one is none; the fifth is
    # above 1.28 with a negative one, which the clip leaves alone.
    assert int(found.clipped) == 1
    assert float(found.largest) == pytest.approx(np.exp(1.8))
    rho = np.exp(np.array(OLD) - np.array(DRAWN))
    assert float(found.mismatch_kl) == pytest.approx((rho - np.log(rho) - 1).sum())


def test_truncated_importance_sampling() -> None:
    how = Algorithm(correction={"kind": "tis", "high": 2.0})
    weight = np.minimum(np.exp(np.array(OLD) - np.array(DRAWN)), 2.0)
    found = loss(how)
    assert float(found.loss) == pytest.approx(-(weight * by_hand()).sum() / 5)
    assert int(found.masked) == 0


def test_no_correction_is_dapo() -> None:
    assert float(loss(Algorithm(method="dapo")).loss) == pytest.approx(-by_hand().sum() / 5)


def test_dr_grpo_divides_by_a_constant() -> None:
    assert float(loss(Algorithm(method="dr_grpo")).loss) == pytest.approx(-by_hand(0.2, 0.2).sum() / (2 * 10))


def test_grpo_takes_means_of_sequences_and_keeps_near_the_start() -> None:
    reference = [-1.1, -0.9, -2.0, -0.2, -0.6]
    away = np.array(reference) - np.array(NEW)
    per_token = -by_hand(0.2, 0.2) + 0.04 * (np.exp(away) - away - 1)
    expected = (per_token[:2].mean() + per_token[2:].mean()) / 2
    assert float(loss(Algorithm(method="grpo"), reference=reference).loss) == pytest.approx(expected)


def test_gspo_has_one_ratio_a_sequence() -> None:
    difference = np.array(NEW) - np.array(OLD)
    first, second = np.exp(difference[:2].mean()), np.exp(difference[2:].mean())
    gain = [
        min(ratio * advantage, np.clip(ratio, 1 - 3e-4, 1 + 4e-4) * advantage)
        for ratio, advantage in ((first, 1.0), (second, -0.5))
    ]
    found = loss(Algorithm(method="gspo"))
    assert float(found.loss) == pytest.approx(-sum(gain) / 2)
    assert int(found.clipped) == 2  # the first sequence's tokens; the second's ratio is 1


@pytest.mark.parametrize(("rho", "kept"), [(0.5, True), (0.4999, False), (5.0, True), (5.001, False), (1.0, True)])
def test_icepops_edges_are_inside(rho: float, kept: bool) -> None:
    old = float(np.log(rho))
    found = loss(Algorithm(), new=[old], old=[old], drawn=[0.0], advantage=[2.0], sequence=[0])
    exact = float(torch.tensor(old, dtype=torch.float64).exp())  # e^ln 5 is not quite 5
    kept = kept and 0.5 <= exact <= 5.0
    assert int(found.masked) == (not kept)
    assert float(found.loss) == pytest.approx(-2.0 * rho / 5 if kept else 0.0)


def test_a_masked_token_has_no_gradient() -> None:
    new = torch.tensor(NEW, dtype=torch.float64, requires_grad=True)
    old, drawn, advantage = (torch.tensor(one, dtype=torch.float64) for one in (OLD, DRAWN, ADVANTAGE))
    policy_loss(new, old, drawn, advantage, torch.tensor(SEQUENCE), WHOLE, Algorithm()).loss.backward()
    assert new.grad is not None
    assert new.grad.ne(0).tolist() == [True, True, False, False, True]  # clipped the third, masked the fourth


def test_the_first_update_is_the_policy_gradient() -> None:
    new = torch.tensor(NEW, requires_grad=True)
    same = new.detach()
    advantage = torch.tensor(ADVANTAGE)
    found = policy_loss(new, same, same, advantage, torch.tensor(SEQUENCE), WHOLE, Algorithm())
    found.loss.backward()
    assert torch.allclose(new.grad, -advantage / 5)
    assert int(found.clipped) == int(found.masked) == 0


def test_nothing_learnt_is_no_loss() -> None:
    nothing = torch.zeros(0)
    empty = torch.zeros(0, dtype=torch.long)
    found = policy_loss(nothing, nothing, nothing, nothing, empty, Whole(0, 0, 10), Algorithm())
    assert float(found.loss) == 0 and float(found.largest) == 1


METHODS = ("mellum2", "grpo", "dr_grpo", "dapo", "gspo")


@settings(max_examples=30, deadline=None)
@given(data=st.data(), method=st.sampled_from(METHODS))
def test_cutting_a_batch_changes_nothing(data: st.DataObject, method: str) -> None:
    """The loss and the gradient of all sequences at once are the sums over any micro-batches of whole sequences."""
    lengths = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=6))
    cuts = data.draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths)))
    torch.manual_seed(data.draw(st.integers(0, 99)))
    how, count = Algorithm(method=method), sum(lengths)
    new = (-2 * torch.rand(count, dtype=torch.float64)).requires_grad_()
    old, drawn, reference = (new.detach() + 0.5 * torch.randn(count, dtype=torch.float64) for _ in range(3))
    sequence = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    advantage = torch.randn(len(lengths), dtype=torch.float64)[sequence]
    whole = Whole(count, len(lengths), 8)
    at_once = policy_loss(new, old, drawn, advantage, sequence, whole, how, reference)
    (wanted,) = torch.autograd.grad(at_once.loss, new)
    total, gradient, first = 0.0, torch.zeros_like(wanted), 0
    for number in range(len(lengths)):
        if cuts[number] and number + 1 < len(lengths):
            continue
        here = (sequence >= first) & (sequence <= number)
        parts = [one[here] for one in (new, old, drawn, advantage)]
        part = policy_loss(*parts, sequence[here] - first, whole, how, reference[here])
        gradient += torch.autograd.grad(part.loss, new)[0]
        total += float(part.loss.detach())
        first = number + 1
    assert total == pytest.approx(float(at_once.loss.detach()), abs=1e-12)
    assert torch.allclose(gradient, wanted, atol=1e-12)
