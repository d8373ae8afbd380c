"""Does RLVR lift nano, and more than as much more fine-tuning? `python -m tests.benchmarks.rlvr_nano --dir DIR`.

For each seed: RLVR from the bundled SFT checkpoint by the recipe `nano_instruct`, and more SFT by the recipe `nano` for
as much CPU time; then 500 held-out problems of maths and of code, greedy, each. What is there already is not run
again, so it may be killed and gone on with. The table has the mean over seeds, the paired difference with its interval
(problem by problem, clustered by template) and its p-value.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from mellum_eval.statistics import paired_difference
from mellum_model.nano import checkpoint

SUITES = ("quick_math:full", "quick_code:full")
THREADS = {"OMP_NUM_THREADS": "1"}
_PROBE_STEPS = 20


def call(*arguments: str) -> float:
    """Run the command line; its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "mellum_eval", *arguments]
    subprocess.run(command, check=True, env={**os.environ, **THREADS}, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def trained(path: Path, *arguments: str) -> float:
    """Train into a directory, once; the CPU seconds that it took."""
    note = path.with_suffix(".cpu")
    if not note.exists():
        resumed = ("--resume",) if (path / "checkpoints").exists() else ()
        seconds = call("train", *arguments, "--out", str(path), *resumed)
        note.write_text(str(seconds))
    return float(note.read_text())


def evaluated(model: Path, path: Path) -> None:
    """500 held-out problems of each suite, once."""
    if not (path / "scores.json").exists():
        options = [part for suite in SUITES for part in ("-s", suite)]
        call("run", f"native:{model}", *options, "--sandbox", "local", "--workers", "1", "--out", str(path))


def scores(path: Path, suite: str) -> dict[str, tuple[float, str | None]]:
    """Problem → (solved, template) of one run."""
    lines = map(json.loads, (path / "verdicts.jsonl").read_text().splitlines())
    return {
        line["problem"]: (float(line["outcome"] == "passed"), line["cluster"])
        for line in lines
        if line["suite"] == suite
    }


def compared(before: Path, runs: list[Path], suite: str) -> dict[str, Any]:
    """The mean over some runs against one, problem by problem."""
    base = scores(before, suite)
    found = [scores(path, suite) for path in runs]
    problems = sorted(base)
    a = [sum(one[p][0] for one in found) / len(found) for p in problems]
    b = [base[p][0] for p in problems]
    difference = paired_difference(a, b, [base[p][1] for p in problems])
    each = [100 * sum(value for value, _ in one.values()) / len(one) for one in found]
    return {
        "before": 100 * sum(b) / len(b),
        "after": 100 * sum(a) / len(a),
        "seeds": [round(value, 1) for value in each],
        "difference": 100 * difference.value,
        "ci95": [100 * difference.lo, 100 * difference.hi],
        "p": difference.p_value,
    }


def main() -> None:
    """Train, evaluate, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--without-sft", action="store_true", help="only RLVR")
    given = parser.parse_args()
    given.dir.mkdir(parents=True, exist_ok=True)
    start, base = checkpoint("instruct"), given.dir / "start"
    evaluated(start, base)
    rl, sft, cpu = [], [], []
    for seed in given.seeds:
        path = given.dir / f"rlvr-{seed}"
        settings = ("--set", f"seed={seed}", "--sandbox", "local", "--workers", "1")
        cpu.append(trained(path, "rlvr", "--recipe", "nano_instruct", "--steps", str(given.steps), *settings))
        evaluated(path / "model", given.dir / f"rlvr-{seed}-run")
        rl.append(given.dir / f"rlvr-{seed}-run")
    for seed, seconds in zip(given.seeds if not given.without_sft else (), cpu, strict=False):
        more = ("sft", "--recipe", "nano", "--form", "instruct", "--from", str(start), "--set", f"seed={seed + 1}")
        probe = trained(given.dir / f"probe-{seed}", *more, "--steps", str(_PROBE_STEPS))
        steps = max(_PROBE_STEPS, round(seconds / probe * _PROBE_STEPS))
        path = given.dir / f"sft-{seed}"
        trained(path, *more, "--steps", str(steps))
        evaluated(path / "sft_instruct" / "model", given.dir / f"sft-{seed}-run")
        sft.append(given.dir / f"sft-{seed}-run")
    print(f"CPU seconds of RLVR: {', '.join(f'{value:.0f}' for value in cpu)}")
    for suite in SUITES:
        for name, runs in (("rlvr", rl), ("more sft", sft)):
            if runs:
                print(json.dumps({"suite": suite, "after": name, **compared(base, runs, suite)}))


if __name__ == "__main__":
    main()
