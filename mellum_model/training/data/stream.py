"""The stream of a stage: sources mixed by phase, encoded, packed into rows, in one order that can be resumed anywhere.

A mixture is kept exactly, not drawn: the next record comes from the source that is furthest behind its share of the
phase's tokens. Rows are made a window at a time (a buffer of examples, packed and shuffled); the state is where the
window began and how many of its rows are out, so that a resumed stream builds the same window again.
"""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ..batch import Batch
from ..errors import DataError
from ..recipes import Packing
from .audit import Tally
from .decontaminate import Contamination
from .dedup import Repeated
from .packing import Row, best_fit, concatenate, make_row
from .records import Cursor, Encoder, Example, Record
from .sources import Source

VERSION = 1


@dataclass(frozen=True, slots=True)
class Stretch:
    """A phase: its share of the rows, and the weights of its sources."""

    name: str
    share: float
    weights: Mapping[str, float]


@dataclass(slots=True)
class _Place:
    """Where one source is being read."""

    cursor: Cursor = field(default_factory=dict)
    epoch: int = 0
    taken: float = 0.0
    """Tokens in this phase."""
    ended: bool = False


@dataclass(slots=True)
class _State:
    """All that decides what comes next."""

    rows: int = 0
    """Rows of the windows before this one."""
    window: int = 0
    phase: int = 0
    places: dict[str, _Place] = field(default_factory=dict)
    left: list[Example] = field(default_factory=list)
    """Examples that no row has taken yet."""
    tally: Tally = field(default_factory=Tally)

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint."""
        places = {name: [dict(one.cursor), one.epoch, one.taken, one.ended] for name, one in self.places.items()}
        return {
            "rows": self.rows,
            "window": self.window,
            "phase": self.phase,
            "places": places,
            "left": [example.to_json() for example in self.left],
            "tally": self.tally.to_json(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> _State:
        """From a checkpoint."""
        places = {name: _Place(*place) for name, place in value["places"].items()}
        left = [Example.from_json(example) for example in value["left"]]
        return cls(value["rows"], value["window"], value["phase"], places, left, Tally.from_json(value["tally"]))


@dataclass(frozen=True, slots=True)
class _Window:
    """Rows, and the state before they were made."""

    begin: dict[str, Any]
    rows: list[Row]


class MixedStream:
    """A `DataStream` over a mixture."""

    def __init__(
        self,
        sources: Mapping[str, Source],
        stretches: Sequence[Stretch],
        encoder: Encoder,
        packing: Packing,
        *,
        fields: Mapping[str, str],
        length: int,
        total_rows: int,
        pad: int,
        seed: int,
        max_epochs: int,
        ends: bool,
        identity: str,
        repeated: Mapping[str, Repeated] | None = None,
        contamination: Contamination | None = None,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            sources: By name.
            stretches: The curriculum, in order.
            encoder: Makes examples of records.
            packing: How examples become rows.
            fields: The text's field of each source.
            length: Tokens of a row.
            total_rows: Of the whole stage over all ranks: what the stretches' shares are shares of.
            pad: Id that fills rows up.
            seed: Of the order of rows within a window.
            max_epochs: How often a source may be read.
            ends: Whether a source that was read that often drops out (and the stream ends with the last of them);
                otherwise asking for more is an error.
            identity: Of everything that decides what comes: a state of another identity is refused.
            repeated: Records to skip because they are copies.
            contamination: What must not be there.
            rank: This process's place.
            ranks: Of so many.
        """
        self._sources, self._stretches, self._encoder, self._packing = dict(sources), stretches, encoder, packing
        self._fields, self._length, self._pad, self._seed = fields, length, pad, seed
        self._max_epochs, self._ends = max_epochs, ends
        self._repeated, self._contamination = repeated or {}, contamination
        self._rank, self._ranks = rank, ranks
        shares = sum(stretch.share for stretch in stretches)
        bounds, so_far = [], 0.0
        for stretch in stretches:
            so_far += stretch.share
            bounds.append(round(total_rows * so_far / shares))
        self._bounds = bounds
        # The number of rows decides what comes only where phases divide it: a stage of one phase may be made longer.
        seams = bounds[:-1]
        text = f"{VERSION}/{identity}/{length}/{seams}/{seed}"
        self._identity = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._reset(_State(places={name: _Place() for name in sources}))

    def _reset(self, state: _State) -> None:
        self._now = state
        """The end of what was built."""
        self._windows: deque[_Window] = deque()
        self._out = 0
        """Rows of the first window that are out."""
        self._readers: dict[str, Iterator[tuple[Record, Cursor]]] = {}

    # --- the protocol of `DataStream` ---

    def next_batch(self, tokens: int) -> Batch:
        """As `DataStream.next_batch`."""
        count = tokens // self._length
        if count % self._ranks:
            raise DataError(f"a batch of {count} rows cannot be shared by {self._ranks} ranks")
        if not self._has(count):
            raise StopIteration("the data has fewer rows left than a batch")
        rows = [self._take() for _ in range(count)][self._rank :: self._ranks]
        seen: dict[str, int] = {}
        for row in rows:
            for source, held in row.parts:
                seen[source] = seen.get(source, 0) + held
        masked = self._packing.document_mask
        return Batch(
            torch.tensor([row.ids for row in rows]),
            torch.tensor([row.labels for row in rows]),
            torch.tensor([row.positions for row in rows]) if masked else None,
            torch.tensor([row.mask for row in rows], dtype=torch.bool),
            seen,
        )

    def state_dict(self) -> dict[str, Any]:
        """As `DataStream.state_dict`."""
        begin = self._windows[0].begin if self._windows else self._now.to_json()
        return {"identity": self._identity, "out": self._out, "window": begin}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As `DataStream.load_state_dict`."""
        if state.get("identity") != self._identity:
            raise DataError(
                "the data state in the checkpoint is of another recipe, seed, tokenizer or number of steps; "
                "resume with the recipe that it was made with, or start anew in another directory"
            )
        self._reset(_State.from_json(state["window"]))
        self._has(state["out"])
        self._out = state["out"]

    @property
    def exhausted(self) -> bool:
        """As `DataStream.exhausted`."""
        return not self._has(1)

    @property
    def tally(self) -> Tally:
        """What was read so far, the window at hand included."""
        return self._now.tally

    # --- rows ---

    def _has(self, count: int) -> bool:
        """Whether so many rows can be had; windows are built for it."""
        while sum(len(window.rows) for window in self._windows) - self._out < count:
            begin = self._now.to_json()
            rows = self._next_window()
            if not rows:
                return False
            self._windows.append(_Window(begin, rows))
        return True

    def _take(self) -> Row:
        while self._out >= len(self._windows[0].rows):
            self._windows.popleft()
            self._out = 0
        self._out += 1
        return self._windows[0].rows[self._out - 1]

    def _next_window(self) -> list[Row]:
        now = self._now
        while now.phase < len(self._bounds) - 1 and now.rows >= self._bounds[now.phase]:
            now.phase += 1
            for place in now.places.values():
                place.taken = 0.0
        last = now.phase == len(self._bounds) - 1
        wanted = None if last else self._bounds[now.phase] - now.rows
        held = list(now.left)
        tokens = sum(len(example.ids) for example in held)
        drawn = 0
        while drawn < self._packing.buffer or tokens < self._length:
            if wanted is not None and tokens >= (wanted + 1) * self._length:
                break
            more = self._draw()
            if more is None:
                break
            drawn += 1
            for example in more:
                tokens += len(example.ids)
                held.append(example)
        ended = all(now.places[name].ended for name, weight in self._weights.items() if weight)
        packed, now.left = self._pack(held, ended)
        if wanted is not None and len(packed) > wanted:
            now.left = [example for row in packed[wanted:] for example in row] + now.left
            packed = packed[:wanted]
        random.Random(f"{self._seed}/window/{now.window}").shuffle(packed)
        rows = [make_row(row, self._length, self._pad) for row in packed]
        now.rows += len(rows)
        now.window += 1
        now.tally.rows += len(rows)
        now.tally.padding += sum(self._length - sum(row.mask) for row in rows)
        return rows

    def _pack(self, held: Sequence[Example], ended: bool) -> tuple[list[list[Example]], list[Example]]:
        """Full rows, and what waits for the next window (nothing, once the data has ended)."""
        if self._packing.method == "split":
            rows, rest = concatenate(held, self._length)
            return (rows + ([rest] if rest else []), []) if ended else (rows, rest)
        bins = [[held[place] for place in places] for places in best_fit([len(one.ids) for one in held], self._length)]
        if ended:
            return bins, []
        full = sum(len(one.ids) for one in held) // self._length
        return bins[:full], [example for row in bins[full:] for example in row]

    # --- records ---

    @property
    def _weights(self) -> Mapping[str, float]:
        return self._stretches[self._now.phase].weights

    def _draw(self) -> list[Example] | None:
        """Examples of the next record of the source that is furthest behind; None once all have ended."""
        now, weights = self._now, self._weights
        live = [name for name, weight in weights.items() if weight and not now.places[name].ended]
        if not live:
            return None
        total = sum(weights[name] for name in live)
        taken = sum(now.places[name].taken for name in live)
        name = max(live, key=lambda one: weights[one] / total * (taken + 1) - now.places[one].taken)
        place = now.places[name]
        reader = self._readers.get(name)
        if reader is None:
            reader = self._readers[name] = self._sources[name].read(place.cursor)
        found = next(reader, None)
        if found is None:
            self._next_epoch(name, place)
            return []
        record, place.cursor = found
        encoded = self._encode(record, name, place.epoch)
        place.taken += sum(len(example.ids) for example in encoded)
        return encoded

    def _next_epoch(self, name: str, place: _Place) -> None:
        self._readers.pop(name, None)
        if place.epoch + 1 >= self._max_epochs:
            if not self._ends:
                raise DataError(
                    f"source {name!r} has been read {self._max_epochs} times, as often as the recipe allows: "
                    "give it more data, a smaller weight, or a higher max_epochs"
                )
            place.ended = True
        if not any(self._now.tally.used(name)):
            why = ", ".join(f"{count:,} {reason}" for reason, count in self._now.tally.dropped(name).most_common())
            raise DataError(f"source {name!r}: no record of it was kept: {why or 'all were empty'}")
        place.epoch += 1
        place.cursor = {}

    def _encode(self, record: Record, name: str, epoch: int) -> list[Example]:
        tally = self._now.tally.of(self._stretches[self._now.phase].name, name)
        tally.records += 1
        tally.epochs = epoch + 1
        copies = self._repeated.get(name)
        if copies is not None and record.ordinal in copies.exact:
            return tally.drop("exact copy")
        if copies is not None and record.ordinal in copies.near:
            return tally.drop("near copy")
        if self._contamination is not None:
            suite = self._contamination.found_in(record.data, self._fields[name])
            if suite is not None:
                return tally.drop(f"contains a problem of {suite}")
        encoded = self._encoder.encode(record, name, self._now.phase, epoch)
        for reason, count in encoded.dropped.items():
            tally.drop(reason, count)
        for example in encoded.examples:
            tally.keep(example)
        return encoded.examples
