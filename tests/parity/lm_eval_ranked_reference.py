"""lm-evaluation-harness's own log-likelihoods, of its `hf` model, in its own Python with nothing of ours beside it.

    PYTHON lm_eval_ranked_reference.py CHECKPOINT < TASKS > SAMPLES

Input: {name: {"task": file of lm_eval/tasks, "rows": documents, "dev": documents of the worked examples, "shots": n}}.
Output: {name: for each document its choices' log-likelihoods, `acc` and, where the task has it, `acc_norm`}.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "OMP_NUM_THREADS": "1"}

import lm_eval
import lm_eval.tasks

ROOT = Path(lm_eval.tasks.__file__).parent


def main() -> None:
    """Evaluate and print."""
    out, sys.stdout = sys.stdout, sys.stderr
    given: dict[str, Any] = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        files = [_file(Path(folder), name, task) for name, task in given.items()]
        manager = lm_eval.tasks.TaskManager(include_path=folder, include_defaults=False)
        made = lm_eval.simple_evaluate(
            model="hf",
            # The checkpoint names no token for the beginning of text in its tokenizer, only in its config: 0.
            model_args={"pretrained": sys.argv[1], "dtype": "float32", "prefix_token_id": 0},
            tasks=[str(file) for file in files],
            task_manager=manager,
            batch_size=8,
            device="cpu",
            bootstrap_iters=0,
        )
    samples = {name: [_sample(sample) for sample in made["samples"][name]] for name in given}
    print(json.dumps(samples), file=out)


def _file(folder: Path, name: str, task: dict[str, Any]) -> Path:
    files = {}
    for split in ("train", "validation", "test", "dev"):
        rows = folder / f"{name}-{split}.jsonl"
        rows.write_text("".join(json.dumps(row) + "\n" for row in task["dev" if split == "dev" else "rows"]))
        files[split] = str(rows)
    file = folder / f"{name}.yaml"
    told = {
        "include": str(ROOT / task["task"]),
        "task": name,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files, "cache_dir": str(folder)},
        "num_fewshot": task["shots"],
    }
    file.write_text(json.dumps(told))  # JSON is YAML
    return file


def _sample(sample: dict[str, Any]) -> dict[str, Any]:
    values = [round(float(reply[0][0]), 6) for reply in sample["resps"]]
    found = {"id": sample["doc_id"], "loglikelihoods": values, "acc": float(sample["acc"])}
    return found | ({"acc_norm": float(sample["acc_norm"])} if "acc_norm" in sample else {})


if __name__ == "__main__":
    main()
