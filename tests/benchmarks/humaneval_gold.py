"""HumanEval+ gold answers, all 124,253 calls: ours against evalplus 0.3.1, two processes each, in one run.

    python -m tests.benchmarks.humaneval_gold [--rounds 3] [--sandbox docker|local]

Both sides have their expected values computed beforehand. Ours is timed from checks as the suite gives them to the last
verdict: encoding the calls, running them confined, cleaning up after each, comparing. Evalplus's is timed from its
expected values in memory to its last verdict; it confines nothing. Rounds alternate, so that a machine that slows down
slows both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from sandboxes.choose import open_sandbox
from sandboxes.prepared import Preparer
from sandboxes.verdict import Verdict
from sandboxes.verify import Verifiers
from suites import registry
from suites.problem import Problem
from tests.environments import EVALPLUS, pinned_python

WORKERS = 2


async def ours(sandbox: str) -> tuple[float, list[str], float]:
    """Wall seconds, problems whose gold does not pass, and the candidates' CPU seconds."""
    from sandboxes import prepared

    benchmark = registry.get("humaneval_plus")
    pool = await open_sandbox(sandbox, workers=WORKERS)  # type: ignore[arg-type]
    async with pool:
        problems = await benchmark.prepare(pool)
        await pool.healthy()
        verifiers = Verifiers(sandbox=pool)
        prepared.ready.__dict__.update(Preparer().__dict__)  # forget what preparing has encoded already
        gate = asyncio.Semaphore(2 * WORKERS)

        async def judge(problem: Problem) -> Verdict:
            async with gate:
                return await verifiers.verify(problem.check, benchmark.answer(problem, problem.gold or ""))

        started = time.perf_counter()
        problems = sorted(problems, key=lambda problem: -problem.check.limits.cpu_s)  # as a run's queue hands them out
        verdicts = await asyncio.gather(*map(judge, problems))
        wall = time.perf_counter() - started
    failed = [p.id for p, v in zip(problems, verdicts, strict=True) if not v.passed]
    return wall, failed, sum(v.cpu_s for v in verdicts)


def theirs(python: Path, data: Path) -> tuple[float, list[str]]:
    """Wall seconds, and problems whose gold does not pass."""
    script = Path(__file__).with_name("evalplus_side.py")
    out = subprocess.run([python, script, "gold", data], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    result = json.loads(out.stdout)
    return result["wall_s"], result["failed"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sandbox", choices=("docker", "local"), default="docker")
    options = parser.parse_args()
    root = Path(os.environ.get("MELLUM_DATA_DIR") or Path(__file__).parents[2].parent / "shared" / "bench_data")
    os.environ["MELLUM_DATA_DIR"] = str(root)
    python = pinned_python("evalplus", *EVALPLUS)
    ratios = []
    for number in range(options.rounds):
        wall, failed, cpu = asyncio.run(ours(options.sandbox))
        other, other_failed = theirs(python, root / "humaneval_plus" / "HumanEvalPlus.jsonl.gz")
        ratios.append(wall / other)
        print(
            f"round {number + 1}: ours ({options.sandbox}) {wall:.1f} s, candidates' CPU {cpu:.1f} s, failed {failed}; "
            f"evalplus {other:.1f} s, failed {other_failed}; ratio {wall / other:.2f}",
            flush=True,
        )
    print(f"median ratio ours/evalplus: {statistics.median(ratios):.2f} over {len(ratios)} rounds")


if __name__ == "__main__":
    sys.exit(main())
