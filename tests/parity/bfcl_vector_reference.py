"""Answers calls by bfcl-eval's own vector memory: one JSON line of conversations in, one of what it said out.

Run with the packages of bfcl-eval, or with its unpacked wheel as argument, in a folder that has the encoder's files as
`all-MiniLM-L6-v2`. What a conversation leaves, the next one reads from the reference's snapshot file.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any, final

sys.path.insert(0, str(Path(__file__).parent))
from make_bfcl_multi_turn import written  # type: ignore[import-not-found]

Conversations = list[list[dict[str, Any]]]


def said(conversations: Conversations, number: int) -> list[dict[str, Any]]:
    """Of each conversation what its calls gave, and what the next prompt shows; a fault ends them."""
    from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_utils import (  # type: ignore[import-not-found]
        execute_multi_turn_func_call,
    )

    name, found = "MemoryAPI_vector", []
    with tempfile.TemporaryDirectory() as folder:
        for place, calls in enumerate(conversations):
            test_id = f"memory_vector_prereq_{place}-student-{place}"
            config = {name: {"model_result_dir": Path(folder), "scenario": "student", "test_id": test_id}}
            texts = [written(call) for call in calls]
            try:
                results, instances = execute_multi_turn_func_call(texts, config, [name], f"m{number}", test_id)
                instances[name]._flush_memory_to_local_file()
            except Exception as error:
                return [*found, {"fault": str(error)}]
            found.append({"results": results, "shown": instances[name]._dump_core_memory_to_context()})
    return found


def main() -> None:
    sys.path[1:1] = sys.argv[1:]
    try:
        import overrides  # noqa: F401
    except ImportError:
        sys.modules["overrides"] = ModuleType("overrides")
        sys.modules["overrides"].final = final  # type: ignore[attr-defined]
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the reference prints
    for number, line in zip(count(), sys.stdin):
        print(json.dumps(said(json.loads(line), number)), file=out, flush=True)


if __name__ == "__main__":
    main()
