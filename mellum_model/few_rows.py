"""Products of a few rows with large matrices on CPU, in float32, at the speed of memory.

BLAS reads a matrix at a quarter of memory's speed when only a few rows meet it. Two other kernels of torch's do not:

- A row times a matrix is a weighted sum of the transposed matrix's rows, and that is what an embedding bag computes.
  A bag takes its rows from anywhere, so the experts that a token chose need no loop, no sorting and no copies.
- From three rows on, a dense product is oneDNN's with a matrix that was packed beforehand.

Both want the weights in another order, so what is here are copies.

Shapes: N rows, D inputs, O outputs, E experts, X experts a row, F expert width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .moe import Experts, sorted_experts

FEW = 2
"""Rows up to which a dense product is a sum of rows."""
_CACHED_BYTES = 2**20
"""Of an expert that a core's own cache holds between two rows that chose it."""


@dataclass(frozen=True, slots=True)
class _Bags:
    """How sums for some rows are divided into bags: one thread sums a bag, and none should be idle."""

    rows: int
    parts: int
    """Bags for each row."""
    begins: Tensor
    """Where each begins among the indices, [rows · parts]."""

    @classmethod
    def of(cls, rows: int, width: int, parts: int | None = None) -> _Bags:
        """Bags for `rows` runs of `width` indices."""
        parts = parts or max(1, min(torch.get_num_threads(), 8) // rows)
        begins = [row * width + part * width // parts for row in range(rows) for part in range(parts)]
        return cls(rows, parts, torch.tensor(begins))

    def sums(self, table: Tensor, indices: Tensor, weights: Tensor, onto: Tensor | None = None) -> Tensor:
        """Sums of `table`'s rows times `weights`, added to `onto` where that is given: [rows, O]."""
        sums: Tensor = torch.embedding_bag(table, indices, self.begins, False, 0, False, weights)[0]
        if self.parts == 1:
            return sums if onto is None else onto + sums
        total, *others = sums.view(self.rows, self.parts, -1).unbind(1)  # a reduction would take longer than the sum
        if onto is not None:
            total = onto + total
        for other in others:
            total = total + other
        return total


class Matrix:
    """`x @ weight.T + bias` for a few rows."""

    def __init__(self, weight_OD: Tensor, *, scale_D: Tensor | None = None, bias_O: Tensor | None = None) -> None:
        """Copy a matrix into its handier form, columns times `scale_D` where it is given."""
        weight_OD = weight_OD.detach()
        self.table_DO = (weight_OD if scale_D is None else weight_OD * scale_D).t().contiguous()
        self.bias_O = None if bias_O is None else bias_O.detach()
        width = self.table_DO.shape[0]
        self._few = {rows: (_Bags.of(rows, width), torch.arange(width).repeat(rows)) for rows in range(1, FEW + 1)}
        self._packed: Tensor | None = None

    def __call__(self, x_ND: Tensor, onto_NO: Tensor | None = None) -> Tensor:
        """[N, D] to [N, O], added to `onto_NO` where that is given."""
        if (few := self._few.get(x_ND.shape[0])) is not None:
            bags, indices = few
            out_NO = bags.sums(self.table_DO, indices, x_ND.reshape(-1), onto_NO)
        else:
            out_NO = self._many(x_ND) if onto_NO is None else onto_NO + self._many(x_ND)
        return out_NO if self.bias_O is None else out_NO + self.bias_O

    def _many(self, x_ND: Tensor) -> Tensor:
        if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            return x_ND @ self.table_DO
        if self._packed is None:
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self.table_DO.t().contiguous(), None)
        out_NO: Tensor = torch.ops.mkldnn._linear_pointwise(x_ND, self._packed, None, "none", [], "")
        return out_NO


class ExpertTables:
    """The experts of a layer for a few rows."""

    def __init__(self, experts: Experts) -> None:
        """Copy the experts into their handier form."""
        self.gate_up_EDF = experts.gate_up_proj.detach().transpose(1, 2).contiguous()
        self.down_EFD = experts.down_proj.detach().transpose(1, 2).contiguous()
        self.experts, self.hidden, double = self.gate_up_EDF.shape
        self.width = double // 2
        self._gate_up_rows, self._down_rows = self.gate_up_EDF.flatten(0, 1), self.down_EFD.flatten(0, 1)
        self._hidden_steps, self._width_steps = torch.arange(self.hidden), torch.arange(self.width)
        self._cached = 3 * self.hidden * self.width * 4 <= _CACHED_BYTES
        self._bags: dict[int, tuple[_Bags, _Bags]] = {}

    def __call__(self, h_NXD: Tensor, weights_NX: Tensor, experts_NX: Tensor, onto_ND: Tensor) -> Tensor:
        """Weighted sum of the chosen experts' outputs, added to `onto_ND`.

        Args:
            h_NXD: Each row once for each expert it chose (expanded will do).
            weights_NX: Of the experts.
            experts_NX: The chosen ones.
            onto_ND: The residual stream.

        Returns:
            [N, D].
        """
        rows, each = experts_NX.shape
        # A bag reads an expert anew for each row that chose it: no matter while that is rare, or comes from the cache.
        if rows * each > self.experts * (8 if self._cached else 1):
            chosen = (h_NXD[:, 0], experts_NX, weights_NX, self.gate_up_EDF.unbind(0), self.down_EFD.unbind(0))
            return sorted_experts(*chosen)[0].add_(onto_ND)
        if rows not in self._bags:
            # One bag for all experts of a row: their weighted sum comes with the product.
            self._bags[rows] = _Bags.of(rows * each, self.hidden, 1), _Bags.of(rows, each * self.width)
        gate_up_bags, down_bags = self._bags[rows]
        experts_M1 = experts_NX.view(-1, 1)
        indices = torch.add(self._hidden_steps, experts_M1, alpha=self.hidden).view(-1)
        both = gate_up_bags.sums(self._gate_up_rows, indices, h_NXD.reshape(-1))
        gate_MF, up_MF = both.chunk(2, -1)
        act_MF = F.silu(gate_MF).mul_(up_MF).mul_(weights_NX.view(-1, 1))
        indices = torch.add(self._width_steps, experts_M1, alpha=self.width).view(-1)
        return down_bags.sums(self._down_rows, indices, act_MF.view(-1), onto_ND)
