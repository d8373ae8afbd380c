"""The Mellum 2 model: architecture, generation, checkpoints, training and post-training.

Names are loaded when first used: `import mellum_model` alone does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import MellumConfig
    from .errors import CheckpointError, ConfigError, ModelError, PromptError
    from .generation import generate, loglikelihood, stream
    from .model import Mellum
    from .rope_config import RopeConfig
    from .sampling import Sampling

_HOMES = {
    "Mellum": "model",
    "MellumConfig": "config",
    "RopeConfig": "rope_config",
    "ModelError": "errors",
    "ConfigError": "errors",
    "CheckpointError": "errors",
    "PromptError": "errors",
    "Sampling": "sampling",
    "generate": "generation",
    "loglikelihood": "generation",
    "stream": "generation",
}

__all__ = [
    "CheckpointError",
    "ConfigError",
    "Mellum",
    "MellumConfig",
    "ModelError",
    "PromptError",
    "RopeConfig",
    "Sampling",
    "generate",
    "loglikelihood",
    "stream",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return value
