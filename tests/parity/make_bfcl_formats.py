"""Writes recorded/bfcl_formats.jsonl: bfcl-eval's verdicts on calls written in the forms of its format sensitivity.

    python -m venv ENV && ENV/bin/pip install pydantic filelock overrides tenacity tree-sitter==0.21.3
    ENV/bin/pip install tree-sitter-java==0.21.0 tree-sitter-javascript==0.21.4
    ENV/bin/pip install --no-deps bfcl-eval==2026.3.23
    MELLUM_DATA_DIR=DIR BFCL_PROJECT_ROOT=$(mktemp -d) ENV/bin/python tests/parity/make_bfcl_formats.py

Only the model table is replaced, as in make_bfcl.py.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2]))
from records import RECORDED, Record, write  # type: ignore[import-not-found]

from suites.tools.bfcl_format_sensitivity import BfclFormatSensitivity

COMMAND = "python tests/parity/make_bfcl_formats.py"
STEP = 59


class _Model:
    underscore_to_dot = False


def texts(gold: str, other: str) -> Iterator[tuple[str, str]]:
    """Form and text of what a model may write."""
    bare = gold.removeprefix("<TOOLCALL>").removesuffix("</TOOLCALL>")
    yield "gold", gold
    yield "another form", other
    yield "untagged", bare
    yield "tagged", f"<TOOLCALL>\n{bare}\n</TOOLCALL>"
    yield "fenced", f"```\n{gold}\n```"
    yield "prose before", f"Here it is:\n{gold}"
    yield "prose after", f"{gold}\nThat is all."
    yield "cut", gold[: len(gold) * 2 // 3]
    yield "without brackets", bare.strip("[]")
    yield "true for True", gold.replace("True", "true")
    yield "all strings", gold.replace('type="integer"', 'type="string"').replace('type="float"', 'type="string"')
    yield "nothing", "I cannot help with that."


def main() -> None:
    stub: Any = types.ModuleType("bfcl_eval.constants.model_config")
    stub.MODEL_CONFIG_MAPPING = {"m": _Model()}
    sys.modules[stub.__name__] = stub
    from bfcl_eval.constants.enums import Language, ReturnFormat  # type: ignore[import-not-found]
    from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker  # type: ignore[import-not-found]
    from bfcl_eval.model_handler.utils import (  # type: ignore[import-not-found]
        default_decode_ast_prompting,
        parse_prompt_variation_params,
    )
    from bfcl_eval.utils import (  # type: ignore[import-not-found]
        is_function_calling_format_output,
        load_dataset_entry,
        load_ground_truth_entry,
    )

    rows = {row["id"]: row["function"] for row in load_dataset_entry("format_sensitivity")}
    possible = {row["id"]: row["ground_truth"] for row in load_ground_truth_entry("format_sensitivity")}
    records = []
    for problem in BfclFormatSensitivity().problems()[::STEP]:
        _, wording, task = problem.id.split(":")
        form, tagged, *_ = parse_prompt_variation_params(wording)
        for name, text in texts(problem.gold or "", problem.wrong[0]):
            try:
                decoded = default_decode_ast_prompting(text, ReturnFormat(form), tagged)
                valid = is_function_calling_format_output(decoded)
                valid = (
                    valid
                    and ast_checker(rows[problem.id], decoded, possible[task], Language.PYTHON, task, "m")["valid"]
                )
            except Exception:  # as the reference's runner: not decoded is wrong
                valid = False
            reference = "bfcl-eval 2026.3.23 format_sensitivity"
            suite = "bfcl_format_sensitivity"
            records.append(Record(suite, problem.id, name, reference, bool(valid), COMMAND, completion=text))
    print(write(RECORDED / "bfcl_formats.jsonl", records), sum(record.reference_verdict for record in records))


if __name__ == "__main__":
    main()
