"""What sources give and what becomes of it: records, the places to go on from, and examples ready to be packed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

Cursor: TypeAlias = dict[str, Any]
"""Where a source goes on: plain JSON values, meaningful to that source alone. `{}` is the beginning."""


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a source.

    Attributes:
        ordinal: Its number within the source, from 0: the same in every epoch.
        data: The fields, as the file or generator has them.
        where: File and line (or the generator's name and the number), for messages.
    """

    ordinal: int
    data: Mapping[str, Any]
    where: str


@dataclass(frozen=True, slots=True)
class Example:
    """Tokens that belong together: a document, a piece of a long one, or a conversation.

    Attributes:
        source: Name of the source.
        ids: Token ids.
        learnt: Whether each token's prediction counts in the loss; None is all of them.
        note: What was done to it (`psm`, `spm`), for the audit.
    """

    source: str
    ids: list[int]
    learnt: list[bool] | None = None
    note: str = ""

    def to_json(self) -> list[Any]:
        """For a checkpoint."""
        return [self.source, self.ids, self.learnt, self.note]

    @classmethod
    def from_json(cls, value: list[Any]) -> Example:
        """From a checkpoint."""
        return cls(*value)


@dataclass(frozen=True, slots=True)
class Encoded:
    """What became of a record: examples, and why others did not come of it."""

    examples: list[Example]
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Reason → examples that were dropped for it."""


class Encoder(Protocol):
    """Turns records into examples; the same arguments always give the same ones."""

    def encode(self, record: Record, source: str, phase: int, epoch: int) -> Encoded:
        """Examples of a record in a phase of the curriculum."""
        ...
