"""Record EvalPlus 0.3.1's verdicts on the variants of `mutants.py`; run by hand, in an environment of its own.

    uv venv evalplus-env && uv pip install --python evalplus-env/bin/python evalplus==0.3.1
    evalplus-env/bin/python tests/parity/record_evalplus.py MIRROR tests/parity/evalplus_verdicts.json

It runs model-like code without a sandbox, as EvalPlus does. A verdict is two letters, base then plus: p(ass), f(ail),
t(imeout). Further arguments name the tasks to record; what the file has of others stays. Slow tasks whose gold EvalPlus
failed for time when this was recorded (HumanEval/15, Mbpp/255, 389, 599, 630) are left out of the file.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from mutants import variants

FILES = {"humaneval": "humaneval_plus/HumanEvalPlus.jsonl.gz", "mbpp": "mbpp_plus/MbppPlus.jsonl.gz"}


def judge(job: tuple[str, str]) -> tuple[str, dict[str, str]]:
    """All variants of one task."""
    dataset, task_id = job
    from evalplus.data.mbpp import mbpp_deserialize_inputs
    from evalplus.eval._special_oracle import MBPP_OUTPUT_NOT_NONE_TASKS
    from evalplus.evaluate import check_correctness
    from evalplus.gen.util import trusted_exec

    task = TASKS[dataset][task_id]
    if dataset == "mbpp":
        task = task | {key: mbpp_deserialize_inputs(task_id, task[key]) for key in ("base_input", "plus_input")}
    not_none = dataset == "mbpp" and task["entry_point"] in MBPP_OUTPUT_NOT_NONE_TASKS
    program = task["prompt"] + task["canonical_solution"]
    expected: dict[str, Any] = {}
    for part in ("base", "plus"):
        expected[part], expected[f"{part}_time"] = trusted_exec(
            program, task[f"{part}_input"], task["entry_point"], record_time=True, output_not_none=not_none
        )
    found = {}
    for name, code in variants(program, task["entry_point"]).items():
        result = check_correctness(dataset, 0, task, code, expected, fast_check=True, min_time_limit=MIN_TIME_S)
        found[name] = "".join(result[part][0][0] for part in ("base", "plus"))
    return task_id, found


MIN_TIME_S = 10.0
"""Wall seconds of a call; EvalPlus's own one second turns right answers into failures on a busy machine."""
TASKS: dict[str, dict[str, Any]] = {}


def main(mirror: str, out: str, *only: str) -> None:
    """Record both data sets, or the named tasks."""
    for dataset, file in FILES.items():
        with gzip.open(Path(mirror) / file, "rt", encoding="utf-8") as rows:
            TASKS[dataset] = {row["task_id"]: row for row in map(json.loads, rows)}
    jobs = [(dataset, task_id) for dataset, tasks in TASKS.items() for task_id in tasks if not only or task_id in only]
    verdicts: dict[str, dict[str, str]] = json.loads(Path(out).read_text("utf-8")) if only else {}
    with ProcessPoolExecutor(int(os.environ.get("WORKERS", "2"))) as pool:
        for done, (task_id, found) in enumerate(pool.map(judge, jobs)):
            verdicts[task_id] = found
            sys.stderr.write(f"\r{done + 1}/{len(jobs)}")
    lines = ",\n".join(f'"{task_id}": {json.dumps(found)}' for task_id, found in verdicts.items())
    Path(out).write_text(f"{{\n{lines}\n}}\n", "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
