"""What lm-evaluation-harness says of fixed answers: run by its own Python, with nothing of ours beside it.

    PYTHON lm_eval_reference.py < CASES > VERDICTS

Each line of input is {"task", "rule": [filter, metric], "row", "completion"}; each line of output is the metric's
value. Tasks are the package's own files with the data replaced: their filters, stop strings, `process_docs` and
`process_results` decide. Text passes through the package's `postprocess_generated_text`, with `</think>` as the end of
reasoning, as its models pass theirs.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}

import lm_eval.tasks
from lm_eval.api.instance import Instance
from lm_eval.models.utils import postprocess_generated_text

ROOT = Path(lm_eval.tasks.__file__).parent
SPLITS = ("train", "validation", "test", "dev")


def main() -> None:
    """Judge standard input."""
    cases = [json.loads(line) for line in sys.stdin]
    out, sys.stdout = sys.stdout, sys.stderr
    verdicts: list[Any] = [None] * len(cases)
    for name in dict.fromkeys(case["task"] for case in cases):
        mine = [number for number, case in enumerate(cases) if case["task"] == name]
        for number, value in zip(mine, judged(name, [cases[number] for number in mine]), strict=True):
            verdicts[number] = value
    for value in verdicts:
        print(json.dumps(float(value)), file=out)


def judged(name: str, cases: list[dict[str, Any]]) -> list[float]:
    """The verdicts on the answers to one task."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        rows.write_text("".join(json.dumps(case["row"]) + "\n" for case in cases))
        files = {split: str(rows) for split in SPLITS}
        file = Path(folder) / "task.yaml"
        given = {
            "include": str(ROOT / name),
            "task": "fixed",
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": {"data_files": files, "cache_dir": folder},
        }
        if name.startswith("mmlu_pro/"):
            given["fewshot_config"] = {"sampler": "first_n"}  # its own reads a column that only the dev split has
        file.write_text(json.dumps(given))  # JSON is YAML
        manager = lm_eval.tasks.TaskManager(include_path=folder, include_defaults=False)
        task = manager.load(str(file))["tasks"]["fixed"]
        docs = list(task.eval_docs)
        assert len(docs) == len(cases)
        task._instances = [
            instance
            for number, (doc, case) in enumerate(zip(docs, cases, strict=True))
            for instance in answered(task, number, doc, case["completion"])
        ]
        task.apply_filters()
        by_doc: dict[int, list[Instance]] = {}
        for instance in task.instances:
            by_doc.setdefault(instance.doc_id, []).append(instance)
        values = []
        for number, (doc, case) in enumerate(zip(docs, cases, strict=True)):
            chosen, metric = case["rule"]
            results = [instance.filtered_resps[chosen] for instance in by_doc[number]]
            values.append(task.process_results(doc, results)[metric])
        return values


def answered(task: Any, number: int, doc: Any, completion: Any) -> list[Instance]:
    """The task's requests with the answer filled in."""
    if task.OUTPUT_TYPE == "generate_until":
        text = postprocess_generated_text(completion, task.config.generation_kwargs.get("until"), "</think>")
        replies = [text]
    else:
        replies = [(value, False) for value in completion]
    kind = "generate_until" if task.OUTPUT_TYPE == "generate_until" else "loglikelihood"
    made = []
    for place, reply in enumerate(replies):
        made.append(Instance(kind, doc, ("", ""), place, metadata=("fixed", number, 1)))
        made[-1].resps = [reply]
    return made


if __name__ == "__main__":
    main()
