"""Contestants measured in turn, in one process, and the shape that is measured on CPU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from mellum_model import MellumConfig


@dataclass
class Row:
    """One thing measured for several contestants."""

    name: str
    seconds: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    """CPU seconds of this process: with one thread, all but independent of what else the machine does."""
    tokens: int = 0
    busy: bool = False

    def best_other(self) -> str:
        return min((name for name in self.seconds if name != "ours"), key=lambda name: self.median(name))

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def cpu_speedup(self) -> float:
        own, other = statistics.median(self.cpu["ours"]), statistics.median(self.cpu[self.best_other()])
        return other / own


def foreign_load() -> float:
    """Share of all CPUs that is used while this process sleeps."""

    def used() -> tuple[float, float]:
        fields = [float(value) for value in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
        return sum(fields), fields[3] + fields[4]

    before = used()
    time.sleep(0.3)
    after = used()
    return 1 - (after[1] - before[1]) / max(after[0] - before[0], 1e-9)


def measure(name: str, contestants: dict[str, Callable[[], Any]], samples: int, tokens: int, device: str) -> Row:
    """Alternate the contestants; one unmeasured round first."""
    row = Row(name, {key: [] for key in contestants}, {key: [] for key in contestants}, tokens, foreign_load() > 0.1)
    for turn in range(samples + 1):
        for key, run in contestants.items():
            if device != "cpu":
                torch.cuda.synchronize()
            begin, begin_cpu = time.perf_counter(), time.process_time()
            run()
            if device != "cpu":
                torch.cuda.synchronize()
            if turn:
                row.seconds[key].append(time.perf_counter() - begin)
                row.cpu[key].append(time.process_time() - begin_cpu)
    return row


def cpu_config() -> MellumConfig:
    return replace(MellumConfig.nano(long_context=True), num_mtp_layers=0)
