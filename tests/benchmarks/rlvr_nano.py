"""Does RLVR lift nano, and more than as much more fine-tuning? `python -m tests.benchmarks.rlvr_nano --dir DIR`.

The start is fine-tuning that was stopped early, where code stands between 30 and 60 %: the recipe `nano` from the
bundled Base model, `--sft-steps` at its highest learning rate. For each seed: RLVR on code from there by the recipe
`nano_instruct`, and more SFT by the recipe `nano`, to the end of its schedule, for as much CPU time; then 500 held-out
problems of maths and of code each, greedy and sampled (four answers at temperature 1). What is there already is not run
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
from collections import defaultdict
from pathlib import Path
from typing import Any

from mellum_eval.statistics import paired_difference
from mellum_model.nano import checkpoint

SUITES = ("quick_math:full", "quick_code:full")
THREADS = {"OMP_NUM_THREADS": "1"}
SAMPLED = ("--samples", "4", "--temperature", "1")
EARLY = ("--set", "schedule={kind: constant, peak: 3.0e-3, warmup_steps: 10}")
ON_CODE = (
    *("--set", "environments={code: {kind: code, share: 1}}"),
    *(
        "--set",
        "rollouts.staleness=0",
    ),  # on one core drawing and training at the same time only get in each other's way
    *("--sandbox", "local", "--workers", "1"),
)
FORMS: dict[str, tuple[str, ...]] = {"greedy": (), "sampled": SAMPLED}


def call(*arguments: str) -> float:
    """Run the command line; its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "mellum_eval", *arguments]
    subprocess.run(command, check=True, env={**os.environ, **THREADS}, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def trained(path: Path, *arguments: str) -> float:
    """Train into a directory, once; the CPU seconds that it took (of one that was killed, only since then)."""
    note = path.with_suffix(".cpu")
    if not note.exists():
        resumed = ("--resume",) if any(path.glob("**/checkpoints")) else ()
        seconds = call("train", *arguments, "--out", str(path), *resumed)
        note.write_text(str(seconds))
    return float(note.read_text())


def evaluated(model: Path, path: Path) -> Path:
    """500 held-out problems of each suite, greedy and sampled, once; where the runs are."""
    options = [part for suite in SUITES for part in ("-s", suite)]
    for form, more in FORMS.items():
        out = path / form
        if not (out / "scores.json").exists():
            resumed = ("--resume",) if (out / "run.json").exists() else ()
            place = ("--sandbox", "local", "--workers", "1", "--out", str(out), *resumed)
            call("run", f"native:{model}", *options, *more, *place)
    return path


def scores(path: Path, suite: str) -> dict[str, tuple[float, str | None]]:
    """Problem → (share of its answers that are right, template) of one run."""
    found: dict[str, list[float]] = defaultdict(list)
    cluster: dict[str, str | None] = {}
    for line in map(json.loads, (path / "verdicts.jsonl").read_text().splitlines()):
        if line["suite"] == suite:
            found[line["problem"]].append(float(line["outcome"] == "passed"))
            cluster[line["problem"]] = line["cluster"]
    return {problem: (sum(values) / len(values), cluster[problem]) for problem, values in found.items()}


def compared(before: list[Path], runs: list[Path], suite: str) -> dict[str, Any]:
    """The mean over some runs against the mean over others, problem by problem."""
    base, found = ([scores(path, suite) for path in paths] for paths in (before, runs))
    problems = sorted(base[0])
    a, b = ([sum(one[p][0] for one in side) / len(side) for p in problems] for side in (found, base))
    difference = paired_difference(a, b, [base[0][p][1] for p in problems])
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
    parser.add_argument("--sft-steps", type=int, default=250)
    parser.add_argument("--steps", type=int, default=80, help="of RLVR")
    parser.add_argument("--without-sft", action="store_true", help="only RLVR")
    given = parser.parse_args()
    given.dir.mkdir(parents=True, exist_ok=True)
    more = ("sft", "--recipe", "nano", "--form", "instruct", "--from")
    begun = trained(given.dir / "start", *more, str(checkpoint("base")), "--steps", str(given.sft_steps), *EARLY)
    start = given.dir / "start" / "sft_instruct" / "model"
    base = evaluated(start, given.dir / "start-run")
    runs: dict[str, list[Path]] = {"rlvr": [], "more sft": []}
    cpu = []
    for seed in given.seeds:
        path = given.dir / f"rlvr-{seed}"
        settings = ("--from", str(start), "--steps", str(given.steps), "--set", f"seed={seed}")
        cpu.append(trained(path, "rlvr", "--recipe", "nano_instruct", *settings, *ON_CODE))
        runs["rlvr"].append(evaluated(path / "model", given.dir / f"rlvr-{seed}-run"))
    for seed, seconds in zip(given.seeds if not given.without_sft else (), cpu, strict=False):
        path = given.dir / f"sft-{seed}"
        # As many steps as the start's own seconds a step give, what it took to begin included as RLVR's is.
        steps = ("--steps", str(round(seconds / begun * given.sft_steps)))
        trained(path, *more, str(start), "--set", f"seed={seed + 1}", *steps)
        runs["more sft"].append(evaluated(path / "sft_instruct" / "model", given.dir / f"sft-{seed}-run"))
    print(f"CPU seconds of the start: {begun:.0f}; of RLVR: {', '.join(f'{value:.0f}' for value in cpu)}")
    for suite in SUITES:
        for form in FORMS:
            for name, before in (("rlvr", [base]), ("more sft", [base]), ("rlvr", runs["more sft"])):
                if before and runs[name]:
                    found = compared([one / form for one in before], [one / form for one in runs[name]], suite)
                    against = "start" if before == [base] else "more sft"
                    print(json.dumps({"suite": suite, "answers": form, "after": name, "against": against, **found}))


if __name__ == "__main__":
    main()
