"""Examples into rows of a fixed length: best fit (arXiv:2404.10830), so that few are cut and little is padding."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

from .records import Example

IGNORED = -100
"""The label of a token that is not learnt, as in `mellum_model.losses`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch, all lists of the same length.

    Attributes:
        ids: Token ids, padding included.
        labels: The ids themselves, -100 where nothing is learnt.
        positions: Place within the document, from 0; padding counts as a document of its own.
        mask: 1, or 0 at padding.
        parts: The examples in it and their lengths: (source, tokens).
    """

    ids: list[int]
    labels: list[int]
    positions: list[int]
    mask: list[int]
    parts: tuple[tuple[str, int], ...]


def best_fit(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Distribute items over as few bins as best-fit-decreasing needs.

    Args:
        lengths: Of the items; none above `size`.
        size: Of a bin.

    Returns:
        Bins as lists of the items' places, fullest first; within a bin the items keep their order.
    """
    order = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (space left, bin), ascending
    for place in order:
        found = bisect_left(room, (lengths[place], -1))
        if found == len(room):
            bins.append([place])
            left, number = size - lengths[place], len(bins) - 1
        else:
            left, number = room.pop(found)
            bins[number].append(place)
            left -= lengths[place]
        insort(room, (left, number))
    fullest = [number for _, number in room]
    return [sorted(bins[number]) for number in fullest]


def concatenate(examples: Sequence[Example], size: int) -> tuple[list[list[Example]], list[Example]]:
    """Cut the examples' tokens, end to end, into full rows; the rest that fills none comes second."""
    rows: list[list[Example]] = []
    row: list[Example] = []
    room = size
    for example in examples:
        begin = 0
        while begin < len(example.ids):
            end = min(len(example.ids), begin + room)
            learnt = None if example.learnt is None else example.learnt[begin:end]
            row.append(Example(example.source, example.ids[begin:end], learnt, example.note))
            room -= end - begin
            begin = end
            if not room:
                rows.append(row)
                row, room = [], size
    return rows, row


def make_row(examples: Sequence[Example], size: int, pad: int) -> Row:
    """A row of whole examples, padded to its size."""
    ids: list[int] = []
    labels: list[int] = []
    positions: list[int] = []
    for example in examples:
        ids += example.ids
        learnt = example.learnt
        labels += example.ids if learnt is None else [
            token if counts else IGNORED for token, counts in zip(example.ids, learnt, strict=True)
        ]  # fmt: skip
        positions += range(len(example.ids))
    padding = size - len(ids)
    return Row(
        ids + [pad] * padding,
        labels + [IGNORED] * padding,
        positions + list(range(padding)),
        [1] * len(ids) + [0] * padding,
        tuple((example.source, len(example.ids)) for example in examples),
    )
