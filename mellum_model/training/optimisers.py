"""Who updates what: Muon the hidden matrices, AdamW the embedding, the output matrix, norms and biases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..config import MellumConfig
from ..hub_keys import pieces
from ..model import Mellum
from .muon import Muon
from .recipes import OptimiserSection

_DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
_OUTER = ("embed_tokens.weight", "lm_head.weight")
_ROUTER = "mlp.gate.weight"


def rows_of_matrices(config: MellumConfig) -> dict[str, tuple[int, ...]]:
    """Rows of each matrix of the parameters that hold several one below the other: q, k, v and gate, up.

    They are the hub's own matrices, so its table says which.
    """
    found = {}
    for name, parts in pieces(config):
        slices = dict.fromkeys(
            (part.index[-1].start, part.index[-1].stop)
            for part in parts
            if part.index and isinstance(part.index[-1], slice)
        )
        if slices:
            found[name] = tuple(stop - start for start, stop in slices)
    return found


def updated_by(name: str, parameter: Tensor, section: OptimiserSection) -> str:
    """`muon`, `adamw` (with weight decay) or `adamw plain` (without, for what is no matrix)."""
    if parameter.ndim < 2:
        return "adamw plain"
    if section.kind == "adamw" or name in _OUTER or (name.endswith(_ROUTER) and section.router == "adamw"):
        return "adamw"
    # A single row or column has nothing to be orthogonal to.
    return "adamw" if min(parameter.shape[-2:]) == 1 else "muon"


class Optimisers:
    """The optimisers of a model, stepped as one."""

    def __init__(self, model: Mellum, section: OptimiserSection) -> None:
        groups: dict[str, list[nn.Parameter]] = {"muon": [], "adamw": [], "adamw plain": []}
        rows: dict[nn.Parameter, tuple[int, ...]] = {}
        cuts = rows_of_matrices(model.config)
        for name, parameter in model.named_parameters():
            groups[updated_by(name, parameter, section)].append(parameter)
            if name in cuts:
                rows[parameter] = cuts[name]
        self.clip = section.clip
        self._params = list(model.parameters())
        self.all: list[torch.optim.Optimizer] = []
        self.muon: Muon | None = None
        if groups["muon"]:
            muon = section.muon
            self.muon = Muon(
                groups["muon"],
                lr=0.0,
                weight_decay=section.weight_decay,
                momentum=muon.momentum,
                nesterov=muon.nesterov,
                steps=muon.newton_schulz_steps,
                scale=muon.scale,
                dtype=_DTYPES[muon.dtype],
                rows=rows,
            )
            self.all.append(self.muon)
        adam: list[dict[str, Any]] = [
            {"params": groups["adamw"], "weight_decay": section.weight_decay},
            {"params": groups["adamw plain"], "weight_decay": 0.0},
        ]
        self.adam = torch.optim.AdamW(
            [group for group in adam if group["params"]],
            lr=0.0,
            betas=section.adam.betas,
            eps=section.adam.eps,
            # One pass over memory instead of a dozen, which is most of what AdamW costs.
            fused=True,
        )
        self.all.append(self.adam)
        self._scales = {id(self.adam): section.adam.lr_scale}

    def set_learning_rate(self, value: float) -> None:
        """For the next step, of every group."""
        for optimiser in self.all:
            for group in optimiser.param_groups:
                group["lr"] = value * self._scales.get(id(optimiser), 1.0)

    def clip_gradients(self) -> Tensor:
        """Scale all gradients so that their common norm is at most `clip`; the norm before that."""
        limit = float("inf") if self.clip is None else self.clip
        norm = torch.nn.utils.clip_grad_norm_(self._params, limit)
        return norm.full_tensor() if hasattr(norm, "full_tensor") else norm

    def step(self) -> None:
        """Update all parameters."""
        for optimiser in self.all:
            optimiser.step()

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for optimiser in self.all:
            optimiser.zero_grad(set_to_none=True)

    def groups(self) -> Iterator[dict[str, Any]]:
        """All parameter groups."""
        for optimiser in self.all:
            yield from optimiser.param_groups
