"""Run directories as a report sees them, read side by side where there is much to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from reports.reading import Reading, read_run
from reports.run import Notice, Run
from reports.samples import Samples
from reports.wording import asked_otherwise

_WORTH_PROCESSES = 50_000_000
"""Bytes: reading fewer takes less time than starting processes does."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """All that could be read.

    Attributes:
        runs: In the given order, told apart by their labels.
        notices: What a reader must know.
        samples: A few answers of each run, by its label, if they were asked for.
    """

    runs: list[Run]
    notices: list[Notice]
    samples: Samples


def gather(paths: Sequence[Path], *, with_samples: bool = False, workers: int = 1) -> Gathered:
    """Read run directories, in the given order; whatever cannot be read becomes a notice.

    Args:
        paths: Run directories.
        with_samples: Whether to pick answers to be shown.
        workers: Processes to read with where there is much to read. They are spawned, so a script that asks for more
            than one needs its `if __name__ == "__main__"`.
    """
    notices: list[Notice] = []
    once: dict[Path, Path] = {}
    for path in paths:
        if path.resolve() in once:
            notices.append(Notice(f"{path}: given more than once, taken once", bad=False))
        once.setdefault(path.resolve(), path)
    readings = list(_each(list(once.values()), with_samples, workers))
    notices.extend(notice for reading in readings for notice in reading.notices)
    found = [(reading.run, reading.samples) for reading in readings if reading.run is not None]
    runs = _told_apart([run for run, _ in found])
    notices.extend(_not_comparable(runs))
    notices.extend(asked_otherwise(runs))
    samples = [(run.label, samples) for run, (_, samples) in zip(runs, found, strict=True)]
    return Gathered(runs, notices, samples)


def _each(paths: Sequence[Path], with_samples: bool, workers: int) -> Iterable[Reading]:
    read = partial(read_run, with_samples=with_samples)
    if min(len(paths), workers) < 2 or sum(map(_bytes, paths)) < _WORTH_PROCESSES:
        return map(read, paths)
    with ProcessPoolExecutor(min(len(paths), workers), mp_context=get_context("spawn")) as pool:
        return list(pool.map(read, paths))


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.glob("*.jsonl"))


def _told_apart(runs: Sequence[Run]) -> list[Run]:
    """The runs with labels that are unlike: the model's name, with the directory's or its path where that is needed."""
    told = list(runs)
    for where in (lambda run: run.path.resolve().name, lambda run: str(run.path.resolve())):
        named = Counter(run.label for run in told)
        told = [
            replace(run, label=f"{given.label} ({where(run)})") if named[run.label] > 1 else run
            for given, run in zip(runs, told, strict=True)
        ]
    return told


def _not_comparable(runs: Sequence[Run]) -> list[Notice]:
    """One notice for each suite whose version or data differ between runs."""
    found: dict[str, dict[str, str]] = {}
    for run in runs:
        for name, result in run.suites.items():
            found.setdefault(name, {}).setdefault(result.identity, run.label)
    return [
        Notice(f"suite {name}: {' and '.join(labels.values())} differ in its version or data; not ranked", bad=False)
        for name, labels in found.items()
        if len(labels) > 1
    ]
