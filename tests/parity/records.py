"""Recorded verdicts of reference packages: one JSON object a line in `recorded/*.jsonl`, the same for all suites.

`suite`: the suite's full name, `bfcl:simple_python`. `item`: the problem's id in that suite. `form`: how the completion
was made, free and short: `gold`, `mutated`, `wrong`, `malformed`, `thinking`, …

`completion`: what was judged: the raw text, or a list of calls, or `{"loglikelihoods": [...]}`. Where it is long, in
its place `completion_sha256` (of its UTF-8 text) and `completions`, `module:function` that makes it anew from the
data: called without arguments it yields `(suite, item, form, completion)`.

`reference`: package, version and rule, `lm-eval 0.4.13 gsm8k strict-match`. `reference_verdict`: true or false, or a
number in [0, 1]. `part`: the part of our verdict that it is held to (`acc_norm`, or `score`); left out: whether the
answer passed. `check`: a check of contract 3 for rows that no suite here has data of; left out: the suite's own.
`command`: what made the line, so that somebody else can.

`disagreements.jsonl` names every line on which we differ: `suite`, `item` and `form` (each may be a pattern), `fault`
(`reference`, `data` or `ours`) and `why`. A test holds it to be complete and to name nothing that agrees.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

HERE = Path(__file__).parent
RECORDED = HERE / "recorded"
Fault = Literal["reference", "data", "ours"]


@dataclass(frozen=True, slots=True)
class Record:
    """One completion and what a reference said of it."""

    suite: str
    item: str
    form: str
    reference: str
    reference_verdict: bool | float
    command: str
    completion: Any = None
    completion_sha256: str = ""
    completions: str = ""
    part: str = ""
    check: dict[str, Any] | None = None

    def line(self) -> str:
        """As it is written, empty fields left out."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        kept = {name: value for name, value in fields.items() if value not in (None, "") or name == "completion"}
        if self.completion_sha256:
            del kept["completion"]
        return json.dumps(kept, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Why a line, or all lines of a kind, are judged otherwise here."""

    suite: str
    item: str
    form: str
    fault: Fault
    why: str

    def covers(self, record: Record) -> bool:
        """Whether it speaks of this line."""
        pairs = ((record.suite, self.suite), (record.item, self.item), (record.form, self.form))
        return all(fnmatchcase(value, pattern) for value, pattern in pairs)


def write(path: Path, records: Iterable[Record]) -> int:
    """Write a file of records; returns how many."""
    lines = [record.line() for record in records]
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return len(lines)


def read(path: Path) -> Iterator[Record]:
    """The records of one file.

    Raises:
        ValueError: Names file, line and what is wrong with it.
    """
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            record = Record(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path.name}:{number}: {error}") from None
        if (record.completion is None) is not bool(record.completion_sha256 and record.completions):
            raise ValueError(f"{path.name}:{number}: needs either completion, or completion_sha256 and completions")
        yield record


def read_all() -> list[Record]:
    """Every recorded line of every file."""
    return [record for path in sorted(RECORDED.glob("*.jsonl")) for record in read(path)]


def disagreements() -> list[Disagreement]:
    """What is known to differ."""
    found = []
    for number, line in enumerate((HERE / "disagreements.jsonl").read_text("utf-8").splitlines(), 1):
        entry = Disagreement(**json.loads(line))
        if entry.fault not in get_args(Fault):
            raise ValueError(f"disagreements.jsonl:{number}: fault {entry.fault!r} is none of {get_args(Fault)}")
        found.append(entry)
    return found


class Completions:
    """The completions of records: their own, or made anew and held to the recorded sum."""

    def __init__(self) -> None:
        self._made: dict[str, dict[tuple[str, str, str], Any]] = {}

    def of(self, record: Record) -> Any:
        """What was judged.

        Raises:
            ValueError: The maker gives something else now, or nothing.
        """
        if not record.completion_sha256:
            return record.completion
        if record.completions not in self._made:
            module, _, function = record.completions.partition(":")
            rows = getattr(importlib.import_module(module), function)()
            self._made[record.completions] = {(suite, item, form): text for suite, item, form, text in rows}
        made = self._made[record.completions].get((record.suite, record.item, record.form))
        if made is None or sha256(made.encode("utf-8")).hexdigest() != record.completion_sha256:
            raise ValueError(
                f"{record.suite} {record.item} {record.form}: {record.completions} makes another completion"
            )
        return made
