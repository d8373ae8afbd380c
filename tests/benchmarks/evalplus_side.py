"""The anchor's side of the benchmarks: runs inside the pinned evalplus environment, prints one JSON line.

python evalplus_side.py gold HumanEvalPlus.jsonl.gz   # wall seconds of checking every gold answer, two processes
python evalplus_side.py trivial N                     # checks/s of a trivial function, one after another
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor


def gold(path: str) -> dict:
    """Check each canonical solution as evalplus's own command does, its ground truth computed beforehand."""
    rows = os.path.join(tempfile.mkdtemp(), "humaneval.jsonl")
    with gzip.open(path, "rt") as source, open(rows, "w") as out:
        out.write(source.read())
    os.environ["HUMANEVAL_OVERRIDE_PATH"] = rows
    from evalplus.data import get_human_eval_plus, get_human_eval_plus_hash
    from evalplus.evaluate import check_correctness, get_groundtruth

    problems = get_human_eval_plus()
    expected = get_groundtruth(problems, get_human_eval_plus_hash(), [])
    started = time.perf_counter()
    failed = []
    with ProcessPoolExecutor(max_workers=2) as pool:
        waiting = {
            pool.submit(
                check_correctness, "humaneval", 0, p, p["prompt"] + p["canonical_solution"], expected[task]
            ): task
            for task, p in problems.items()
        }
        for future, task in waiting.items():
            result = future.result()
            if result["base"][0] != "pass" or result["plus"][0] != "pass":
                failed.append(task)
    return {"wall_s": time.perf_counter() - started, "problems": len(problems), "failed": failed}


def trivial(count: int) -> dict:
    """Check f(x) = x + 1 on one input, `count` times in a row, in a fresh process each as evalplus does."""
    from evalplus.eval import untrusted_check

    started = time.perf_counter()
    for _ in range(count):
        status, _details = untrusted_check(
            "humaneval", "def f(x): return x + 1\n", [[1]], "f", expected=[2], atol=0, ref_time=[0.01]
        )
        if status != "pass":
            raise SystemExit(f"evalplus did not pass the trivial function: {status}")
    return {"per_s": count / (time.perf_counter() - started)}


if __name__ == "__main__":
    mode, argument = sys.argv[1:]
    out = sys.stdout
    sys.stdout = sys.stderr
    result = gold(argument) if mode == "gold" else trivial(int(argument))
    print(json.dumps(result), file=out)
