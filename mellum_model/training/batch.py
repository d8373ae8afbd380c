"""What data hands to the loop: a batch of one optimiser step, and the stream that gives one after the other.

A stream is the whole of a stage's data for one rank: sources, mixture, packing, masks. The loop asks for one step's
tokens at a time and cuts them into micro-batches itself, so that a loss is a mean over the step's labels however it is
accumulated.

Shapes: B rows, S sequence length.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from ..losses import IGNORED


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of one step, or of one micro-batch of it."""

    input_ids: Tensor
    """int64 [B, S]."""
    labels: Tensor
    """int64 [B, S], not shifted (`input_ids` itself where all is learnt); `IGNORED` (-100) where nothing is."""
    positions: Tensor | None = None
    """int64 [B, S], from 0 again at each document: no document sees another. None: a row is one document."""
    mask: Tensor | None = None
    """bool [B, S], False at padding, which the router's losses leave out. None: there is no padding."""
    sources: Mapping[str, int] = field(default_factory=dict)
    """Tokens of each source, padding excluded; summed over a run they are the mixture as it was."""

    def __post_init__(self) -> None:
        for name in ("labels", "positions", "mask"):
            value = getattr(self, name)
            if value is not None and value.shape != self.input_ids.shape:
                raise ValueError(f"{name} {tuple(value.shape)} and input_ids {tuple(self.input_ids.shape)} differ")

    @property
    def rows(self) -> int:
        """B."""
        return self.input_ids.shape[0]

    def take(self, rows: slice) -> Batch:
        """Some of the rows; `sources` stay with the whole."""
        return Batch(
            self.input_ids[rows],
            self.labels[rows],
            None if self.positions is None else self.positions[rows],
            None if self.mask is None else self.mask[rows],
        )

    def micro(self, rows: int) -> Iterator[Batch]:
        """Micro-batches of `rows` rows; the last may be smaller."""
        for first in range(0, self.rows, rows):
            yield self.take(slice(first, first + rows))

    def to(self, device: torch.device | str) -> Batch:
        """The same on a device."""
        return Batch(
            self.input_ids.to(device, non_blocking=True),
            self.labels.to(device, non_blocking=True),
            None if self.positions is None else self.positions.to(device, non_blocking=True),
            None if self.mask is None else self.mask.to(device, non_blocking=True),
            self.sources,
        )

    def targets(self, ahead: int) -> int:
        """Labels that a prediction `ahead` tokens on is learnt from: within their documents, not `IGNORED`."""
        learnt = self.labels[:, ahead:] != IGNORED
        if self.positions is not None:
            learnt = learnt & (self.positions[:, ahead:] == self.positions[:, :-ahead] + ahead)
        return int(learnt.sum())


class DataStream(Protocol):
    """A stage's data for one rank, resumable to the very sample.

    Every rank builds the same stream with its own `rank` and `ranks`; the global order of rows is one, and a rank sees
    every `ranks`-th of them. Hence `state_dict` is the same on all ranks, and a run may go on with another number.
    """

    def next_batch(self, tokens: int) -> Batch:
        """This rank's rows of the next global batch.

        Args:
            tokens: Of the global batch, padding included: `tokens // S` rows, a multiple of the number of ranks.

        Raises:
            DataError: A source is empty or a shard cannot be read; the message names it.
            StopIteration: Fewer than one whole batch is left (`exhausted` says so beforehand where it is known).
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands: JSON values only, and small (positions and seeds; no samples if possible)."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there: the next batch is bit for bit what it would have been.

        Raises:
            DataError: The state is of another recipe, seed or set of files.
        """
        ...

    @property
    def exhausted(self) -> bool:
        """Whether no further batch can be had."""
        ...


@dataclass(frozen=True, slots=True)
class OpenedData:
    """What the loop is given for a stage."""

    stream: DataStream
    held_out: Sequence[Batch] = ()
    """Rows that share no document with the stream, evaluated on the way; the same on all ranks."""
