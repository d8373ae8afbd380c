"""Memory on CPU in pages of 2 MiB where Linux gives them.

Decoding reads all weights at every step, far more than the processor remembers page addresses for: with pages of 4 KiB
it waits for those addresses about as long as for the weights.
"""

from __future__ import annotations

import contextlib
import math
import mmap

import torch
from torch import Tensor

_CHUNK = 32 * 2**20
"""Bytes asked for at once. What of them is never written to takes no memory."""
_ALIGNED = 16
"""Floats of a cache line."""


def _fresh(floats: int) -> Tensor:
    """Zeros, in huge pages if there are any."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.zeros(floats)
    memory = mmap.mmap(-1, 4 * floats, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without them
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.float32)


class Arena:
    """Tensors in float32 on CPU that lie close together; any others are torch's own."""

    def __init__(self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self._device, self._dtype = torch.device(device), dtype
        self._left = torch.empty(0)

    def zeros(self, *shape: int) -> Tensor:
        """A tensor of zeros."""
        if self._device.type != "cpu" or self._dtype != torch.float32:
            return torch.zeros(shape, device=self._device, dtype=self._dtype)
        floats = math.prod(shape)
        taken = -(-floats // _ALIGNED) * _ALIGNED
        if taken > self._left.numel():
            self._left = _fresh(max(taken, _CHUNK // 4))
        piece, self._left = self._left[:floats], self._left[taken:]
        return piece.view(shape)

    def copy(self, tensor: Tensor) -> Tensor:
        """A contiguous copy."""
        return self.zeros(*tensor.shape).copy_(tensor)
