"""Muon: momentum, made orthogonal a matrix at a time by Newton–Schulz, for the hidden matrices.

`torch.optim.Muon` takes whole 2-D matrices one by one; ours equals it there (a test holds that) and also takes what it
refuses: experts as stacks of matrices, matrices that are fused in one parameter (q, k, v; gate, up), shards. All
matrices of a shape go through one batched Newton–Schulz.

Sharded by rows, a matrix cannot be orthogonalised part by part: the result is silently wrong. Every such matrix
therefore travels whole to one owner among the ranks, and its update travels back; momentum stays sharded. Experts are
sharded by expert, whole matrices, and do not travel.

Shapes: N matrices, R rows, C columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import sqrt
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Shard

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Keller Jordan's quintic: steepest at 0, singular values end in about 0.7 … 1.2."""
EPS = 1e-7
CHUNK = 1 << 27
"""Elements of one batched product at most: bounds the memory of the 12B's 5,000 expert matrices."""
CPU_CHUNK = 1 << 18
"""On a CPU, for each thread: a stack and its Gram matrices stay in a core's own cache over all iterations."""


def orthogonalise(stack: Tensor, steps: int = 5, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """Newton–Schulz on each matrix of a stack.

    Args:
        stack: [N, R, C], left as it is.
        steps: Iterations.
        dtype: Of the products.

    Returns:
        [N, R, C] in `dtype`, with singular values near 1.
    """
    return _iterated(stack.to(dtype, copy=True), steps)


def _iterated(x: Tensor, steps: int) -> Tensor:
    """Newton–Schulz on a stack, which is overwritten. The Gram matrix is that of the shorter side."""
    a, b, c = COEFFICIENTS
    tall = x.shape[-2] > x.shape[-1]
    x.div_(torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True).clamp_(min=EPS))
    for _ in range(steps):
        gram = torch.bmm(x.mT, x) if tall else torch.bmm(x, x.mT)
        series = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, x, series, beta=a) if tall else torch.baddbmm(x, series, x, beta=a)
    return x


class Muon(torch.optim.Optimizer):
    """Muon over matrices [R, C] and stacks of them [N, R, C], whole or sharded on the first dimension.

    The update is lr · scale · √max(R, C) times the orthogonalised momentum, after a decoupled decay of 1 - lr · decay.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        *,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        steps: int = 5,
        scale: float = 0.2,
        dtype: torch.dtype = torch.bfloat16,
        rows: Mapping[nn.Parameter, Sequence[int]] | None = None,
    ) -> None:
        """Set up.

        Args:
            params: Parameters or groups of them.
            lr: Learning rate.
            weight_decay: Decoupled.
            momentum: Of the moving average.
            nesterov: Whether the gradient is blended into the momentum once more.
            steps: Newton–Schulz iterations.
            scale: 0.2 gives updates the size of AdamW's (Moonlight, arXiv:2502.16982).
            dtype: Of the Newton–Schulz products.
            rows: How many rows belong to each matrix of a parameter that holds several, one below the other.
        """
        defaults = {
            "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov, "steps": steps,
            "scale": scale,
        }  # fmt: skip
        super().__init__(params, defaults)
        self._dtype = dtype
        self._rows = dict(rows or {})
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.ndim not in (2, 3):
                    raise ValueError(f"Muon takes matrices and stacks of them, not shape {tuple(parameter.shape)}")
                if sum(self._rows.get(parameter, (parameter.shape[-2],))) != parameter.shape[-2]:
                    raise ValueError(f"rows {self._rows[parameter]} do not add up to those of {tuple(parameter.shape)}")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            params = [parameter for parameter in group["params"] if parameter.grad is not None]
            directions = self._directions(params, group)
            sharded = [place for place, parameter in enumerate(params) if _is_cut(parameter)]
            whole = [place for place in range(len(params)) if place not in set(sharded)]
            updates: list[Tensor] = list(directions)
            trip = _Trip([params[place] for place in sharded], [directions[place] for place in sharded], self._dtype)
            here = [(params[place], directions[place]) for place in whole]
            done = self._orthogonalised(here + trip.to_owners(), group)
            back = trip.back(done[len(whole) :])
            for place, update in zip(whole + sharded, done[: len(whole)] + back, strict=True):
                updates[place] = update
            self._apply(params, updates, group)

    def _directions(self, params: list[nn.Parameter], group: dict[str, Any]) -> list[Tensor]:
        """Momentum (with Nesterov's blend), of as much of each parameter as this rank holds."""
        for parameter in params:
            if not self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        gradients = [_local(parameter.grad) for parameter in params]
        buffers = [_local(self.state[parameter]["momentum_buffer"]) for parameter in params]
        if not params:
            return []
        torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
        if not group["nesterov"]:
            return buffers
        found: list[Tensor] = list(torch._foreach_lerp(gradients, buffers, group["momentum"]))
        return found

    def _orthogonalised(self, matrices: list[tuple[nn.Parameter, Tensor]], group: dict[str, Any]) -> list[Tensor]:
        """The scaled orthogonal update of each whole parameter, in its own shape."""
        parts: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
        updates: list[Tensor] = []
        for parameter, direction in matrices:
            update = torch.empty_like(direction, dtype=self._dtype)
            updates.append(update)
            stack, out = (x if x.ndim == 3 else x[None] for x in (direction, update))
            rows = self._rows.get(parameter, (stack.shape[-2],))
            for source, target in zip(_split(stack, rows, -2), _split(out, rows, -2), strict=True):
                parts.setdefault((target.shape[-2], target.shape[-1]), []).append((source, target))
        for (height, width), pairs in parts.items():
            for chunk in _chunks(pairs, max(1, _chunk_elements(pairs[0][0]) // (height * width))):
                # Joining the sources is the one copy that the iterations may overwrite.
                joined = torch.cat([source for source, _ in chunk]).to(self._dtype)
                done = _iterated(joined, group["steps"]).mul_(group["scale"] * sqrt(max(height, width)))
                sizes = [target.shape[0] for _, target in chunk]
                for (_, target), part in zip(chunk, _split(done, sizes), strict=True):
                    target.copy_(part)
        return updates

    def _apply(self, params: list[nn.Parameter], updates: list[Tensor], group: dict[str, Any]) -> None:
        if not params:
            return
        local = [_local(parameter) for parameter in params]
        torch._foreach_mul_(local, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(
            local, [update.to(part.dtype) for part, update in zip(local, updates, strict=True)], alpha=-group["lr"]
        )


def _chunk_elements(like: Tensor) -> int:
    """How much goes through one batched product."""
    return CHUNK if like.is_cuda else min(CHUNK, CPU_CHUNK * torch.get_num_threads())


def _chunks(pairs: list[tuple[Tensor, Tensor]], limit: int) -> Iterable[list[tuple[Tensor, Tensor]]]:
    """Lists of stacks, in pairs, with at most `limit` matrices each; a stack that alone has more is cut."""
    chunk: list[tuple[Tensor, Tensor]] = []
    held = 0
    for source, target in pairs:
        for part in zip(torch.split(source, limit), torch.split(target, limit), strict=True):
            count = part[0].shape[0]
            if chunk and held + count > limit:
                yield chunk
                chunk, held = [], 0
            chunk.append(part)
            held += count
    if chunk:
        yield chunk


def _split(tensor: Tensor, sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of `sizes` along a dimension."""
    views: tuple[Tensor, ...] = torch.split(tensor, list(sizes), dim)
    return views


def _local(tensor: Tensor | None) -> Tensor:
    if isinstance(tensor, DTensor):
        local: Tensor = tensor.to_local()
        return local
    assert tensor is not None
    return tensor


def _is_cut(parameter: Tensor) -> bool:
    """Whether ranks hold parts of matrices, not whole ones."""
    if not isinstance(parameter, DTensor):
        return False
    placements = [placement for placement in parameter.placements if not placement.is_replicate()]
    if len(parameter.placements) > 1 or any(placement != Shard(0) for placement in placements):
        raise ValueError(
            f"Muon knows shards of the first dimension of a one-dimensional mesh, not {parameter.placements}"
        )
    return bool(placements) and parameter.ndim == 2 and parameter.device_mesh.size() > 1


class _Trip:
    """Matrices cut by rows, to their owners whole, and their updates back, cut by rows again.

    Owners are chosen alike on all ranks, the largest matrix first, each to the rank with the least work.
    """

    def __init__(self, params: list[nn.Parameter], shards: list[Tensor], dtype: torch.dtype) -> None:
        self._params, self._shards, self._dtype = params, shards, dtype

    def to_owners(self) -> list[tuple[nn.Parameter, Tensor]]:
        """The matrices that this rank owns, whole."""
        if not self._params:
            return []
        mesh = self._params[0].device_mesh  # type: ignore[attr-defined]
        self._group, ranks, self._rank = mesh.get_group(), mesh.size(), mesh.get_local_rank()
        load = [0.0] * ranks
        owner: dict[int, int] = {}
        for place in sorted(range(len(self._params)), key=lambda place: (-self._params[place].numel(), place)):
            rows, columns = self._params[place].shape
            owner[place] = load.index(min(load))
            load[owner[place]] += min(rows, columns) ** 2 * max(rows, columns)
        self._of = [[place for place in range(len(self._params)) if owner[place] == rank] for rank in range(ranks)]
        sent = torch.cat([self._shards[place].flatten().to(self._dtype) for of in self._of for place in of])
        self._sent = [sum(self._shards[place].numel() for place in of) for of in self._of]
        mine = self._of[self._rank]
        # What rank r holds of each matrix of mine, in elements.
        self._held = [
            [_rows_of(self._params[p].shape[0], ranks, r) * self._params[p].shape[1] for p in mine]
            for r in range(ranks)
        ]
        received = [sum(held) for held in self._held]
        arrived = sent.new_empty(sum(received))
        dist.all_to_all_single(arrived, sent, received, self._sent, group=self._group)
        pieces = [_split(part, held) for part, held in zip(_split(arrived, received), self._held, strict=True)]
        return [
            (self._params[place], torch.cat([piece[number] for piece in pieces]).view(self._params[place].shape))
            for number, place in enumerate(mine)
        ]

    def back(self, updates: list[Tensor]) -> list[Tensor]:
        """This rank's rows of the updates of all matrices, given those of the matrices that it owns."""
        if not self._params:
            return []
        ranks = len(self._of)
        cut = [_split(update.flatten(), [self._held[r][n] for r in range(ranks)]) for n, update in enumerate(updates)]
        parts = [cut[n][r] for r in range(ranks) for n in range(len(updates))]
        sent = torch.cat(parts) if parts else torch.empty(0, dtype=self._dtype, device=self._shards[0].device)
        arrived = sent.new_empty(sum(self._sent))
        dist.all_to_all_single(arrived, sent, self._sent, [sum(held) for held in self._held], group=self._group)
        order = [place for of in self._of for place in of]
        found = dict(zip(order, _split(arrived, [self._shards[place].numel() for place in order]), strict=True))
        return [found[place].view(self._shards[place].shape) for place in range(len(self._params))]


def _rows_of(rows: int, ranks: int, rank: int) -> int:
    """Rows of a matrix that a rank holds: `torch.chunk`'s rule, which DTensor follows."""
    each = -(-rows // ranks)
    return max(0, min(each, rows - rank * each))
