"""Writes recorded/bfcl_memory.jsonl: the verdicts of bfcl-eval's agentic checker on last messages to memory questions.

python -m venv ENV && ENV/bin/pip install --no-deps bfcl-eval==2026.3.23
ENV/bin/python tests/parity/make_bfcl_memory.py DATA_DIR
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2]))
from records import RECORDED, Record, write  # type: ignore[import-not-found]

COMMAND = "python tests/parity/make_bfcl_memory.py DATA_DIR"


def messages(possible: list[str], other: str) -> Iterator[tuple[str, str]]:
    """Form and text of what a model may say last."""
    first, last = possible[0], possible[-1]
    yield "gold", f"{{'answer': '{first}', 'context': 'You told me.'}}"
    yield "other possible", f"It is {last}."
    yield "unknown", "{'answer': 'I do not know', 'context': 'I do not know'}"
    yield "another's", f"{{'answer': '{other}', 'context': ''}}"
    yield "shouted", f"**{first.upper()}**!"
    yield "hyphens", f"the answer ({'-'.join(first)}), I think"
    yield "in a word", f"un{first}ish"
    yield "spread", "  ".join(first.split()) + " "
    yield "half", first[: max(1, len(first) // 2)]
    yield "quoted", f'"{first.replace(chr(39), chr(34))}"'


def main() -> None:
    from bfcl_eval.eval_checker.agentic_eval.agentic_checker import (  # type: ignore[import-not-found]
        agentic_checker,
    )

    file = Path(sys.argv[1]) / "bfcl_v4" / "possible_answer" / "BFCL_v4_memory.json"
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    records = []
    for row, following in zip(rows, [*rows[1:], rows[0]], strict=True):
        item = row["id"].replace("memory", "memory_kv", 1)
        for form, text in messages(row["ground_truth"], following["ground_truth"][0]):
            valid = agentic_checker(text, row["ground_truth"])["valid"]
            reference = "bfcl-eval 2026.3.23 agentic_checker"
            records.append(Record("bfcl_memory:kv", item, form, reference, bool(valid), COMMAND, completion=text))
    print(write(RECORDED / "bfcl_memory.jsonl", records), sum(record.reference_verdict for record in records))


if __name__ == "__main__":
    main()
