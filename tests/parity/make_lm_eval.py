"""Record lm-evaluation-harness's verdicts on the answers of `lm_eval_cases`.

    MELLUM_DATA_DIR=DIR python -m tests.parity.make_lm_eval

Builds an environment with the package first (two minutes); it judges with its own task definitions.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))
from environments import LM_EVAL, pinned_python
from lm_eval_cases import Case, cases
from records import RECORDED, Record, write

COMMAND = "python -m tests.parity.make_lm_eval"


def records() -> Iterator[Record]:
    """All cases with their verdicts."""
    made = list(cases())
    lines = "".join(json.dumps(asked(case)) + "\n" for case in made)
    command = [str(pinned_python("lm-eval", *LM_EVAL)), str(Path(__file__).with_name("lm_eval_reference.py"))]
    done = subprocess.run(command, input=lines, text=True, stdout=subprocess.PIPE, check=True)
    verdicts = [float(line) for line in done.stdout.splitlines()]
    for case, verdict in zip(made, verdicts, strict=True):
        yield record(case, verdict)


def asked(case: Case) -> dict[str, object]:
    """What the reference is told."""
    return {"task": case.task, "rule": case.rule, "row": case.row, "completion": case.completion}


def record(case: Case, verdict: float) -> Record:
    """The line of a case."""
    chosen, metric = case.rule
    fields = {
        "suite": case.suite,
        "item": case.item,
        "form": case.form,
        "reference": f"lm-eval 0.4.13 {task_name(case.task)} {metric if chosen == 'none' else chosen}",
        "reference_verdict": verdict if case.part == "score" else bool(verdict),
        "command": COMMAND,
        "part": case.part,
        "check": None if case.check is None else case.check.model_dump(exclude_defaults=True),
    }
    if isinstance(case.completion, str):
        digest = sha256(case.completion.encode()).hexdigest()
        return Record(**fields, completion_sha256=digest, completions="lm_eval_cases:texts")  # type: ignore[arg-type]
    values = [case.completion[place] for place in case.order] if case.order else case.completion
    return Record(**fields, completion={"loglikelihoods": values})  # type: ignore[arg-type]


def task_name(file: str) -> str:
    """What the task of a file is called: MMLU's and BBH's are alike but for their documents."""
    folder, _, name = file.rpartition("/")
    alike = {"mmlu/default": "mmlu", "mmlu/generative": "mmlu_generative", "bbh/cot_fewshot": "bbh_cot_fewshot"}
    alike |= {"mmlu_pro": "mmlu_pro", "winogrande": "winogrande"}
    return alike.get(folder, name.removesuffix(".yaml"))


if __name__ == "__main__":
    print(write(RECORDED / "lm_eval.jsonl", records()))
