"""Where a suite's data comes from: pinned files, checked by sha256 before anything is read of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DataSource:
    """One file of a benchmark.

    Attributes:
        file: Path in the mirror's layout, such as `gsm8k/test.jsonl.gz` under `MELLUM_DATA_DIR`.
        sha256: Of the file's bytes there.
        licence: SPDX identifier, or what the source says.
        origin: Where people get it: `hf:OWNER/NAME@REVISION/PATH` or an https address.
    """

    file: str
    sha256: str
    licence: str
    origin: str


class SourceMissing(Exception):
    """A data file is not at hand. `mend` says how to get it."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(f"{what}; {mend}")
        self.what = what
        self.mend = mend


class SourceAltered(Exception):
    """A data file is not the pinned one: names the file and both sums."""
