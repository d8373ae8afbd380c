"""Record CRUXEval's verdicts: its rule (evaluation/utils_general.py), carried out by a fresh CPython for each line.

    python -m tests.parity.make_cruxeval

The reference is no package; its rule is: a predicted input has `f(` in it, a predicted output has not the very call in
it, and `assert OUTPUT == PREDICTION` after the task's code raises nothing within three seconds. Predictions: gold, the
neighbour's (wrong, but for chance), the call itself in another spelling, and what is no expression.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from records import RECORDED, Record, write

from suites.code.cruxeval import SOURCE
from suites.sources import read_jsonl

ITEMS = range(0, 800, 8)
REFERENCE = "cruxeval 10d71b4 evaluate_score"
COMMAND = "python -m tests.parity.make_cruxeval"


def verdict(code: str, given: str, output: str, predicted: str, asked: str) -> bool:
    """The reference's verdict."""
    if (asked == "input" and "f(" not in predicted) or (asked == "output" and f"f({given})" in predicted):
        return False
    try:
        program = f"{code}\nassert {output} == {predicted}"
        done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, timeout=3, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def records() -> Iterator[Record]:
    """Both directions, in four forms."""
    rows = list(read_jsonl(SOURCE))
    for number in ITEMS:
        row, other = rows[number], rows[(number + 1) % len(rows)]
        code, given, output = row["code"], row["input"], row["output"]
        forms = {
            "output": {
                "gold": output,
                "wrong": other["output"],
                "spelled": f"f( {given} )",
                "malformed": f"{output} ](",
            },
            "input": {
                "gold": f"f({given})",
                "wrong": f"f({other['input']})",
                "malformed": f"f({given}",
                "value": output,
            },
        }
        for asked, predictions in forms.items():
            for form, predicted in predictions.items():
                yield Record(
                    suite=f"cruxeval:{asked}",
                    item=row["id"],
                    form=form,
                    reference=REFERENCE,
                    reference_verdict=verdict(code, given, output, predicted, asked),
                    command=COMMAND,
                    completion=f"[ANSWER]{predicted}[/ANSWER]",
                )


if __name__ == "__main__":
    print(write(RECORDED / "cruxeval.jsonl", records()))
