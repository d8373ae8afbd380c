"""Writes recorded/bfcl_multi_turn.jsonl: the verdicts of bfcl-eval's multi-turn checker on one conversation a task.

    python -m venv ENV && ENV/bin/pip install mpmath && ENV/bin/pip install --no-deps bfcl-eval==2026.3.23
    ENV/bin/python tests/parity/make_bfcl_multi_turn.py DATA_DIR

The reference gets each call as the text that its own handler makes of structured calls, and evaluates it.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2]))
from bfcl_conversations import Call, talks  # type: ignore[import-not-found]
from records import RECORDED, Record, write  # type: ignore[import-not-found]

COMMAND = "python tests/parity/make_bfcl_multi_turn.py DATA_DIR"


def written(call: Call) -> str:
    """As the reference's `convert_to_function_call` writes it."""
    return f"{call['name']}({','.join(f'{key}={value!r}' for key, value in call['arguments'].items())})"


def main() -> None:
    from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker import (  # type: ignore[import-not-found]
        multi_turn_checker,
    )

    records = []
    for talk in talks(Path(sys.argv[1])):
        decoded = [[[written(call) for call in step] for step in turn if step] for turn in talk.turns]
        category = f"multi_turn_{talk.kind}"
        try:
            valid = multi_turn_checker(decoded, talk.right, talk.row, category, "m")["valid"]
        except Exception as error:  # the reference's own crash: wrong
            print(talk.id, talk.form, repr(error), file=sys.stderr)
            valid = False
        suite, reference = f"bfcl_multi_turn:{talk.kind}", "bfcl-eval 2026.3.23 multi_turn_checker"
        records.append(Record(suite, talk.id, talk.form, reference, bool(valid), COMMAND, completion=talk.answer))
    print(write(RECORDED / "bfcl_multi_turn.jsonl", records), sum(record.reference_verdict for record in records))


if __name__ == "__main__":
    main()
