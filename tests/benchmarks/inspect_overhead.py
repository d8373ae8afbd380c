"""What a harness costs: `mellum-eval run` beside `inspect eval`, a mock model on the same MMLU questions, in one run.

    python -m tests.benchmarks.inspect_overhead [--samples 1000] [--rounds 3]

Both answer rightly at once, so all the time is the harness's own. Each round runs both commands, of few questions and
of all, one after the other, so that a machine that slows down slows both; the difference is the samples' cost without
the start. Wall and CPU seconds are those of the whole command, its children among them; medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from suites import registry
from suites.knowledge.mmlu import TEST
from suites.sources import read_jsonl
from tests.environments import INSPECT, pinned_python

ROOT = Path(__file__).resolve().parents[2]
SIDE = Path(__file__).with_name("inspect_side.py")
FEW = 10
CONNECTIONS = "32"
"""Requests in flight, on both sides: our default."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of one command."""

    wall: float
    cpu: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.wall - other.wall, self.cpu - other.cpu)


def command_cost(command: Sequence[str], directory: Path) -> Cost:
    """Run a command in a directory of its own, and see that it succeeds."""
    before = os.times()
    started = time.perf_counter()
    done = subprocess.run(
        command, cwd=directory, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    wall = time.perf_counter() - started
    after = os.times()
    if done.returncode:
        raise SystemExit(f"{command[0]} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(wall, cpu)


def ours(samples: int, directory: Path) -> Cost:
    """`mellum-eval run` of the first so many of the evenly spread questions; all must be judged right."""
    command = [sys.executable, "-m", "mellum_eval", "run", "mock:gold", "-s", "mmlu", "--limit", str(samples)]
    cost = command_cost([*command, "--concurrency", CONNECTIONS, "--out", str(directory / "run")], directory)
    scores = json.loads((directory / "run" / "scores.json").read_text())["suites"]["mmlu"]
    if scores["outcomes"] != {"passed": samples}:
        raise SystemExit(f"ours judged {scores['outcomes']}, not {samples} right answers")
    return cost


def theirs(python: Path, samples: int, directory: Path) -> Cost:
    """`inspect eval` of the same questions; all must be judged right."""
    rows = dict(zip((problem.id for problem in registry.get("mmlu").problems()), read_jsonl(TEST), strict=True))
    taken = [list(rows)[index * len(rows) // samples] for index in range(samples)]
    fields = ("question", "choices", "answer")
    questions = [{"id": name, **{field: rows[name][field] for field in fields}} for name in taken]
    (directory / "questions.json").write_text(json.dumps(questions), "utf-8")
    shutil.copy(SIDE, directory)
    inspect = str(python.with_name("inspect"))
    command = [inspect, "eval", SIDE.name, "-T", "file=questions.json", "--display", "none", "--log-dir", "logs"]
    cost = command_cost([*command, "--max-connections", CONNECTIONS, "--max-samples", CONNECTIONS], directory)
    (log,) = (directory / "logs").iterdir()
    header = subprocess.run(
        [inspect, "log", "dump", "--header-only", str(log)], capture_output=True, text=True, check=True
    )
    results = json.loads(header.stdout)["results"]
    accuracy = results["scores"][0]["metrics"]["accuracy"]["value"]
    if (results["completed_samples"], accuracy) != (samples, 1.0):
        raise SystemExit(f"inspect judged {results['completed_samples']} samples, accuracy {accuracy}")
    return cost


def main() -> None:
    """Alternate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    python = pinned_python("inspect", *INSPECT)
    costs: dict[tuple[str, int], list[Cost]] = {}
    for number in range(1, options.rounds + 1):
        for samples in (FEW, options.samples):
            for who in ("ours", "inspect_ai"):
                with tempfile.TemporaryDirectory() as scratch:
                    directory = Path(scratch)
                    cost = ours(samples, directory) if who == "ours" else theirs(python, samples, directory)
                costs.setdefault((who, samples), []).append(cost)
                print(
                    f"round {number}: {samples} samples, {who}: {cost.wall:.2f} s wall, {cost.cpu:.2f} s CPU",
                    flush=True,
                )
    rows = {
        f"{FEW} samples, whole command": [costs[who, FEW] for who in ("ours", "inspect_ai")],
        f"{options.samples} samples, whole command": [costs[who, options.samples] for who in ("ours", "inspect_ai")],
        f"{options.samples - FEW} samples, without the start": [
            [all_of - few for all_of, few in zip(costs[who, options.samples], costs[who, FEW], strict=True)]
            for who in ("ours", "inspect_ai")
        ],
    }
    for name, (mine, other) in rows.items():
        for clock in ("wall", "cpu"):
            a, b = (statistics.median(getattr(cost, clock) for cost in side) for side in (mine, other))
            print(f"{name:34} {clock:4}  ours {a:7.3f} s   inspect_ai {b:7.3f} s   ratio {b / a:.1f}")


if __name__ == "__main__":
    main()
