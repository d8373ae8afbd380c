"""Writes bfcl_expected.json: the verdicts of bfcl-eval's own AST checker on every case, as one bit a case.

    python -m venv ENV && ENV/bin/pip install --no-deps bfcl-eval==2026.3.23
    BFCL_PROJECT_ROOT=$(mktemp -d) ENV/bin/python tests/parity/make_bfcl.py DATA_DIR

Only the model table is replaced (it imports every vendor's SDK): names keep their dots.
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2]))
from bfcl_cases import CATEGORIES, SYNTAX, cases  # type: ignore[import-not-found]


class _Model:
    underscore_to_dot = False


def main() -> None:
    stub: Any = types.ModuleType("bfcl_eval.constants.model_config")
    stub.MODEL_CONFIG_MAPPING = {"m": _Model()}
    sys.modules[stub.__name__] = stub
    from bfcl_eval.constants.enums import Language  # type: ignore[import-not-found]
    from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker  # type: ignore[import-not-found]

    made: dict[str, dict[str, Any]] = {}
    for category in CATEGORIES:
        bits, raised = "", []
        language = Language[SYNTAX.get(category, "python").upper()]
        for case in cases(Path(sys.argv[1]), category):
            try:
                result = ast_checker(case.tools, case.calls, case.possible, language, category, "m")
                bits += "1" if result["valid"] else "0"
            except Exception as error:  # the reference's own crash: wrong, and listed
                bits += "0"
                raised.append(f"{case.id}/{case.mutation}: {type(error).__name__}")
        made[category] = {"cases": len(bits), "valid_hex": f"{int('1' + bits, 2):x}", "raised": raised}
    target = Path(__file__).with_name("bfcl_expected.json")
    target.write_text(json.dumps({"reference": "bfcl-eval 2026.3.23", "categories": made}, indent=1) + "\n")


if __name__ == "__main__":
    main()
