"""Record the log-likelihoods that lm-eval's `hf` model gives the choices of ARC, MMLU and made-up HellaSwag rows.

    MELLUM_DATA_DIR=DIR python -m tests.parity.make_lm_eval_ranked

The model is the bundled `nano:base`, in float32; the tasks are the package's own, five worked examples for MMLU.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))
from environments import LM_EVAL, pinned_python
from lm_eval_cases import LETTERS, hellaswag_rows

from mellum_model.nano import checkpoint
from suites.knowledge import arc, mmlu
from suites.sources import read_jsonl

RECORD = Path(__file__).with_name("lm_eval_ranked.json")
SUBJECT = "anatomy"
HELLASWAG = 30


def tasks() -> dict[str, dict[str, Any]]:
    """By our suite's name: the package's task, documents, and our ids of them."""
    found: dict[str, dict[str, Any]] = {}
    for name, source in (("challenge", arc.CHALLENGE), ("easy", arc.EASY)):
        rows = list(read_jsonl(source))[:: 40 if name == "challenge" else 80]
        found[f"arc:{name}"] = {"task": f"arc/arc_{name}.yaml", "rows": rows, "ids": [row["id"] for row in rows]}
    rows = [_mmlu(row) for row in read_jsonl(mmlu.TEST) if row["subject"] == SUBJECT][:8]
    dev = [_mmlu(row) for row in read_jsonl(mmlu.DEV) if row["subject"] == SUBJECT]
    ids = [f"{SUBJECT}/{number}" for number in range(len(rows))]
    found["mmlu"] = {"task": f"mmlu/default/mmlu_{SUBJECT}.yaml", "rows": rows, "dev": dev, "shots": 5, "ids": ids}
    rows = hellaswag_rows(HELLASWAG)
    ids = [f"hellaswag/{row['ind']}" for row in rows]
    found["hellaswag"] = {"task": "hellaswag/hellaswag.yaml", "rows": rows, "ids": ids}
    return {name: {"shots": 0, "dev": task["rows"], **task} for name, task in found.items()}


def _mmlu(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "answer": LETTERS.index(row["answer"])}


def main() -> None:
    """Ask and write."""
    given = tasks()
    python = pinned_python("lm-eval", *LM_EVAL)
    reference = Path(__file__).with_name("lm_eval_ranked_reference.py")
    names = {name.replace(":", "_"): name for name in given}
    done = subprocess.run(
        [str(python), str(reference), str(checkpoint("base"))],
        input=json.dumps({short: given[name] for short, name in names.items()}),
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    )
    samples = json.loads(done.stdout.splitlines()[-1])
    rows = []
    for short, name in names.items():
        for sample in samples[short]:
            identifier = given[name]["ids"][sample.pop("id")]
            rows.append({"suite": name, "item": identifier, **sample})
    weights = hashlib.sha256((checkpoint("base") / "model.safetensors").read_bytes()).hexdigest()
    head = {"reference": "lm-eval 0.4.13 hf", "command": "python -m tests.parity.make_lm_eval_ranked"}
    lines = ",\n".join(json.dumps(row) for row in rows)
    RECORD.write_text(json.dumps({**head, "weights_sha256": weights})[:-1] + f', "rows": [\n{lines}\n]}}\n')
    print(len(rows))


if __name__ == "__main__":
    main()
