"""The rotary embedding of one layer type as `config.json` has it: plain, or extended by YaRN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ConfigError


@dataclass(frozen=True, slots=True)
class RopeConfig:
    """Rotary embedding of one layer type."""

    theta: float = 500_000.0
    factor: float | None = None
    """YaRN's scale; None is plain RoPE."""
    original_max_position_embeddings: int | None = None
    """Context before extension, which YaRN's ramp is measured against."""
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None
    """Multiplied into cos and sin; None is 0.1 ln(factor) + 1."""

    def __post_init__(self) -> None:
        # Beyond these bounds there is a model still, but one that nobody trained.
        if not 1 < self.theta < math.inf:
            raise ConfigError(f"rope_theta: {self.theta:g} is no base of wavelengths; Mellum 2 has 500000")
        if self.factor is None:
            return
        if not 1 <= self.factor < math.inf:
            raise ConfigError(f"factor: {self.factor:g} extends no context; YaRN's is 1 or more")
        if (self.original_max_position_embeddings or 0) < 1:
            raise ConfigError(
                f"original_max_position_embeddings: {self.original_max_position_embeddings} is no length of a context"
            )
        if not 0 < self.beta_slow < self.beta_fast < math.inf:
            raise ConfigError(f"beta_slow {self.beta_slow:g} must be above 0 and below beta_fast {self.beta_fast:g}")
        if self.attention_factor is not None and not 0 < self.attention_factor < math.inf:
            raise ConfigError(f"attention_factor: {self.attention_factor:g} must be above 0")

    @property
    def scaling(self) -> float:
        """What cos and sin are multiplied by."""
        if self.factor is None:
            return 1.0
        if self.attention_factor is not None:
            return self.attention_factor
        return 0.1 * math.log(self.factor) + 1.0

    @classmethod
    def from_hub(cls, entry: object, where: str) -> RopeConfig:
        """Read one layer type's entry of `rope_parameters`.

        Raises:
            ConfigError: A key is missing, no number, or out of range; `where` and the key are named.
        """
        if not isinstance(entry, Mapping):
            raise ConfigError(f"{where}: expected a mapping with rope_type and rope_theta, got {entry!r}")
        kind = entry.get("rope_type", "default")
        if kind not in ("default", "yarn"):
            raise ConfigError(f"{where}.rope_type: {kind!r} is not known; default and yarn are")
        if entry.get("rope_theta") is None:
            raise ConfigError(f"{where}.rope_theta is missing; Mellum 2 has 500000")
        if entry.get("partial_rotary_factor", 1.0) != 1.0:
            raise ConfigError(f"{where}.partial_rotary_factor: only 1.0 is known (the whole head is rotated)")
        values: dict[str, Any] = {"theta": _number(entry, "rope_theta", where)}
        if kind == "yarn":
            values |= _yarn(entry, where)
        try:
            return cls(**values)
        except ConfigError as error:
            raise ConfigError(f"{where}.{error}") from None

    def to_hub(self) -> dict[str, Any]:
        """One layer type's entry of `rope_parameters`."""
        if self.factor is None:
            return {"rope_type": "default", "rope_theta": self.theta}
        return {
            "rope_type": "yarn",
            "rope_theta": self.theta,
            "factor": self.factor,
            "original_max_position_embeddings": self.original_max_position_embeddings,
            "beta_fast": self.beta_fast,
            "beta_slow": self.beta_slow,
            "attention_factor": self.scaling,
        }


def _yarn(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    if not entry.get("truncate", True):
        raise ConfigError(f"{where}.truncate: false has no effect in transformers and is refused; remove it")
    for key in ("factor", "original_max_position_embeddings"):
        if entry.get(key) is None:
            raise ConfigError(f"{where}.{key} is missing; yarn needs it")
    if entry.get("attention_factor") is None and (entry.get("mscale") or entry.get("mscale_all_dim")):
        raise ConfigError(f"{where}.mscale is not known; give attention_factor")
    values: dict[str, Any] = {
        key: _number(entry, key, where)
        for key in ("factor", "beta_fast", "beta_slow", "attention_factor")
        if entry.get(key) is not None
    }
    return values | {"original_max_position_embeddings": int(_number(entry, "original_max_position_embeddings", where))}


def _number(entry: Mapping[str, Any], key: str, where: str) -> float:
    value = entry[key]
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ConfigError(f"{where}.{key}: expected a number, got {value!r}")
    return float(value)
