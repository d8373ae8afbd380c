"""Writes bfcl_memory_calls.json: sums of what bfcl-eval's memories say to calls, in conversations with snapshot files.

python -m venv ENV && ENV/bin/pip install filelock overrides numpy rank-bm25==0.2.2
ENV/bin/pip install --no-deps bfcl-eval==2026.3.23
BFCL_PROJECT_ROOT=$(mktemp -d) ENV/bin/python tests/parity/make_bfcl_memory_calls.py
"""

from __future__ import annotations

import json
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2]))
from make_bfcl_multi_turn import written  # type: ignore[import-not-found]

KEYS = ["name", "home_town", "favourite_tea", "first_job", "Bad Key", "x1", "a", "b_2", "c", "d", "e"]
TEXTS = ["Michael", "Seattle, it's rainy", "Da Hong Pao\n", "naïve ☕", "y" * 301, "z" * 2001, "w" * 6000, ""]
SEEDS, CONVERSATIONS, CALLS = 8, 3, 14


def kv(random: Random) -> dict[str, Any]:
    """One call of a key-value memory."""
    where = random.choice(["core_memory", "archival_memory"])
    key, text = random.choice(KEYS), random.choice(TEXTS)
    return random.choice(
        [
            *([{"name": f"{where}_add", "arguments": {"key": key, "value": text}}] * 6),
            {"name": f"{where}_replace", "arguments": {"key": key, "value": text}},
            {"name": f"{where}_remove", "arguments": {"key": key}},
            {"name": f"{where}_retrieve", "arguments": {"key": key}},
            {"name": f"{where}_list_keys", "arguments": {}},
            {"name": f"{where}_key_search", "arguments": {"query": key, "k": random.randint(0, 3)}},
            {"name": "core_memory_retrieve_all", "arguments": {}},
            {"name": f"{where}_add", "arguments": {"key": key}},
            {"name": "forget", "arguments": {}},
        ]
    )


def rec_sum(random: Random) -> dict[str, Any]:
    """One call of a memory that is one text."""
    text = random.choice(TEXTS)
    return random.choice(
        [
            *([{"name": "memory_append", "arguments": {"text": text}}] * 4),
            {"name": "memory_update", "arguments": {"text": text}},
            {"name": "memory_replace", "arguments": {"old_text": text, "new_text": random.choice(TEXTS)}},
            {"name": "memory_retrieve", "arguments": {}},
        ]
    )


def talks(kind: str, seed: int) -> list[list[dict[str, Any]]]:
    """The calls of each conversation."""
    random, one = Random(seed), {"kv": kv, "rec_sum": rec_sum}[kind]
    return [[one(random) for _ in range(CALLS)] for _ in range(CONVERSATIONS)]


def summed(results: list[str], shown: str) -> str:
    """A sum over the results of a conversation's calls and what the next prompt shows of the memory."""
    return sha256(json.dumps([results, shown]).encode()).hexdigest()


def main() -> None:
    from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_utils import (  # type: ignore[import-not-found]
        execute_multi_turn_func_call,
    )

    made: dict[str, list[list[str]]] = {}
    for kind in ("kv", "rec_sum"):
        for seed in range(SEEDS):
            folder, sums = Path(tempfile.mkdtemp()), []
            for number, calls in enumerate(talks(kind, seed)):
                name, test_id = f"MemoryAPI_{kind}", f"memory_{kind}_prereq_{number}-student-{number}"
                config = {name: {"model_result_dir": folder, "scenario": "student", "test_id": test_id}}
                texts = [written(call) for call in calls]
                results, instances = execute_multi_turn_func_call(texts, config, [name], f"m{seed}", test_id)
                instances[name]._flush_memory_to_local_file()
                sums.append(summed(results, instances[name]._dump_core_memory_to_context()))
            made.setdefault(kind, []).append(sums)
    Path(__file__).with_name("bfcl_memory_calls.json").write_text(json.dumps(made, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
