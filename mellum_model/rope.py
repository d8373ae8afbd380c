"""Rotary position embedding, one per layer type, with YaRN where the type has it.

Half-rotation form: dimension i turns together with i + C/2. Inverse frequencies are computed in float32 step by step
as the released model's own code does: at position 131,072 one ulp of a frequency is a hundredth of a radian.

Shapes: B batch, T time, C head dimension.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .rope_config import RopeConfig


def inverse_frequencies(rope: RopeConfig, head_dim: int) -> Tensor:
    """Radians a position for each pair of dimensions, float32 [C/2].

    YaRN (Peng et al. 2023, arXiv:2309.00071): pairs that turn more than `beta_fast` times within the original context
    keep their frequency, those that turn less than `beta_slow` times are slowed by `factor`, a linear ramp between.
    """
    wavelengths = rope.theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    if rope.factor is None or rope.original_max_position_embeddings is None:
        return 1.0 / wavelengths

    def pair_turning(turns: float) -> float:
        context = float(rope.original_max_position_embeddings or 0)
        return (head_dim * math.log(context / (turns * 2 * math.pi))) / (2 * math.log(rope.theta))

    low = max(math.floor(pair_turning(rope.beta_fast)), 0)
    high = min(math.ceil(pair_turning(rope.beta_slow)), head_dim - 1)
    width = high - low if high != low else 0.001
    kept = 1 - torch.clamp((torch.arange(head_dim // 2, dtype=torch.float32) - low) / width, 0, 1)
    slowed, plain = 1.0 / (rope.factor * wavelengths), 1.0 / wavelengths
    return slowed * (1 - kept) + plain * kept


class Rope:
    """Tables of cos and sin of one layer type. No module: it holds no weights, and a meta model needs none."""

    def __init__(self, config: RopeConfig, head_dim: int) -> None:
        self.config = config
        self._frequencies = {torch.device("cpu"): inverse_frequencies(config, head_dim)}

    def tables(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cos and signed sin for `rotate`.

        Args:
            positions: Integer positions, any shape.
            dtype: Of the result; angles are always float32.

        Returns:
            Two tensors [*positions.shape, C]: cos twice, and (-sin, sin); both times YaRN's attention factor.
        """
        device = positions.device
        if device not in self._frequencies:
            self._frequencies[device] = self._frequencies[torch.device("cpu")].to(device)
        angles = positions[..., None].float() * self._frequencies[device]
        cos, sin = angles.cos() * self.config.scaling, angles.sin() * self.config.scaling
        return torch.cat((cos, cos), -1).to(dtype), torch.cat((-sin, sin), -1).to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn `x` [..., C] by the angles of `Rope.tables`, broadcast over heads."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)
