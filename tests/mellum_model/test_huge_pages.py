"""Memory in huge pages: tensors as any others, wherever it comes from."""

from __future__ import annotations

import mmap

import pytest
import torch

from mellum_model.huge_pages import Arena


@pytest.mark.parametrize("huge", [True, False])
def test_an_arena_gives_tensors_that_do_not_touch(huge: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not huge:
        monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    arena = Arena()
    given = [arena.zeros(3, 5), arena.zeros(0), arena.zeros(2**23 + 1), arena.copy(torch.arange(6.0).view(2, 3).t())]
    assert not any(tensor.any() for tensor in given[:3])
    assert given[3].tolist() == [[0, 3], [1, 4], [2, 5]] and given[3].is_contiguous()
    assert all(tensor.data_ptr() % 64 == 0 for tensor in given)
    for value, tensor in enumerate(given):
        tensor.fill_(value)
    del arena
    assert all((tensor == value).all() for value, tensor in enumerate(given))


def test_other_kinds_of_memory_are_torchs_own() -> None:
    assert Arena("cpu", torch.bfloat16).zeros(2, 2).dtype == torch.bfloat16
    assert Arena("meta").zeros(2, 2).device.type == "meta"
