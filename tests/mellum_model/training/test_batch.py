"""Batches: cut by rows, and the labels that count are those within documents."""

from __future__ import annotations

import pytest
import torch

from mellum_model.training.batch import Batch


def test_targets_stay_within_documents() -> None:
    ids = torch.arange(8)[None]
    labels = ids.clone()
    labels[0, 1] = -100
    assert Batch(ids, labels).targets(1) == 6  # positions 1…7 but the ignored one
    positions = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 0]])
    packed = Batch(ids, labels, positions)
    assert packed.targets(1) == 4  # 2; 4, 5, 6
    assert packed.targets(2) == 3  # 2; 5, 6


def test_micro_batches_cover_the_batch() -> None:
    ids = torch.arange(10).view(5, 2)
    parts = list(Batch(ids, ids, mask=torch.ones_like(ids, dtype=torch.bool), sources={"a": 10}).micro(2))
    assert [part.rows for part in parts] == [2, 2, 1]
    assert torch.equal(torch.cat([part.input_ids for part in parts]), ids)
    assert all(part.mask is not None and part.positions is None for part in parts)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="labels"):
        Batch(torch.zeros(2, 3), torch.zeros(2, 4))
