"""Writes bfcl_wordings.json: of each of BFCL's 26 wordings, a sum over bfcl-eval's own prompts for its 200 tasks.

python -m venv ENV && ENV/bin/pip install filelock overrides tenacity tree-sitter==0.21.3 tree-sitter-java==0.21.0
ENV/bin/pip install tree-sitter-javascript==0.21.4 && ENV/bin/pip install --no-deps bfcl-eval==2026.3.23
BFCL_PROJECT_ROOT=/tmp/bfcl ENV/bin/python tests/parity/make_bfcl_wordings.py
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def main() -> None:
    from bfcl_eval.model_handler.utils import (  # type: ignore[import-not-found]
        system_prompt_pre_processing_chat_model,
    )
    from bfcl_eval.utils import load_dataset_entry  # type: ignore[import-not-found]

    sums = {}
    for row in load_dataset_entry("format_sensitivity"):
        asked = system_prompt_pre_processing_chat_model(row["question"][0], row["function"], row["id"])
        wording = row["id"].split(":")[1]
        turns = [[turn["role"], turn["content"]] for turn in asked]
        sums.setdefault(wording, hashlib.sha256()).update(json.dumps([row["id"], turns]).encode())
    made = {wording: found.hexdigest() for wording, found in sums.items()}
    Path(__file__).with_name("bfcl_wordings.json").write_text(json.dumps(made, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
