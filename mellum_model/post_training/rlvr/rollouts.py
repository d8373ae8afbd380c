"""Who draws the answers: a protocol that any engine fits, and ours.

A sampler takes requests at any time and hands back what has ended, with the log-probability that each token had when it
was drawn. Its weights are changed only between batches. One thread drives it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from ...config import MellumConfig
from ...engine import Engine
from ...model import Mellum
from ...sampling import Sampling
from .recipe import Rollouts

Weights: TypeAlias = Mapping[str, Tensor]
"""A model's parameters by name, whole, as they were at one moment."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """One answer."""

    tokens: Sequence[int]
    """The end token included, if it came."""
    logprobs: Sequence[float]
    """Natural logarithms, of the distribution that was drawn from."""
    finish: Literal["stop", "length"]


class Sampler(Protocol):
    """Draws answers."""

    def load(self, weights: Weights) -> None:
        """Draw from these from now on. Nothing is running when this is called."""
        ...

    def submit(self, key: int, prompt: Sequence[int], *, seed: int, temperature: float, max_tokens: int) -> None:
        """Ask for an answer.

        Raises:
            PromptError: The prompt leaves no room for one.
        """
        ...

    def poll(self) -> list[tuple[int, Sampled]]:
        """Work or wait a little, and hand back what has ended."""
        ...

    @property
    def busy(self) -> bool:
        """Whether anything is still to come."""
        ...

    def close(self) -> None:
        """Drop what is running and let go of everything."""
        ...


def snapshot(model: Mellum, *, device: torch.device | str | None = None) -> dict[str, Tensor]:
    """A copy of a model's weights; those of a sharded model are gathered, so every rank must call.

    Args:
        model: Which.
        device: Where the copy lies; the model's own device if not given.
    """
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            whole = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter.detach()
            found[name] = whole.to(device or whole.device, copy=True)
    return found


class NativeSampler:
    """This package's engine over a copy of the model."""

    def __init__(self, config: MellumConfig, settings: Rollouts, *, device: str, dtype: torch.dtype) -> None:
        self._settings = settings
        self._model = Mellum(config, device=device, dtype=dtype).eval()
        self._engine: Engine | None = None
        self._keys: dict[int, int] = {}

    def load(self, weights: Weights) -> None:
        """Copy the weights in; the engine is made anew, because it holds some of them in a form of its own."""
        with torch.no_grad():
            for name, parameter in self._model.named_parameters():
                parameter.copy_(weights[name])
        self._engine = Engine(self._model, max_batch=self._settings.max_batch)
        self._keys.clear()

    def submit(self, key: int, prompt: Sequence[int], *, seed: int, temperature: float, max_tokens: int) -> None:
        """Queue a request."""
        if self._engine is None:
            raise RuntimeError("a sampler was asked before it had weights")
        sampling = Sampling(
            max_new_tokens=max_tokens, temperature=temperature, seed=seed, logprobs=0, tempered_logprobs=True
        )
        self._keys[self._engine.submit(prompt, sampling)] = key

    def poll(self) -> list[tuple[int, Sampled]]:
        """One step of the engine."""
        if self._engine is None:
            return []
        found = []
        for delta in self._engine.step():
            if (done := delta.result) is not None:
                found.append((self._keys.pop(delta.index), Sampled(done.tokens, done.logprobs or [], done.finish)))
        return found

    @property
    def busy(self) -> bool:
        """Whether requests wait or run."""
        return self._engine is not None and self._engine.busy

    def close(self) -> None:
        """Forget what runs."""
        self._engine = None
        self._keys.clear()
