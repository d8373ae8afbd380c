"""BFCL's simulated APIs and the texts of its prompts, out of the reference's own wheel; code runs in the sandbox only.

The wheel (bfcl-eval 2026.3.23, whose dependencies nobody could install beside ours) is a pinned file like any other
data. Its modules are source text here: never imported on this side, sent with each job to the judge.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from typing import Any

from sandboxes.check import ApiSetting
from suites.sources import DataSource, read_archive

WHEEL = DataSource(
    file="bfcl_eval/bfcl_eval-2026.3.23-py3-none-any.whl",
    sha256="3bb6dfa5f0c68ad403c9ec50b00db2bb3b4cc9b38ab1ff33f48fe30d853d3a0a",
    licence="Apache-2.0",
    origin="pypi:bfcl-eval==2026.3.23",
)
BM25 = DataSource(
    file="bfcl_eval/rank_bm25-0.2.2-py3-none-any.whl",
    sha256="7bd4a95571adadfc271746fa146a4bcfd89c0cf731e49c3d1ad863290adbe8ae",
    licence="Apache-2.0",
    origin="pypi:rank-bm25==0.2.2",
)
"""Ranks the keys of a memory; needs numpy, which every sandbox has."""
_FOLDER = "bfcl_eval/eval_checker/multi_turn_eval/func_source_code/"
_LONG = "long_context"
"""What the other modules import: file contents and listings that fill a context."""
MODULES = {
    "GorillaFileSystem": "gorilla_file_system",
    "MathAPI": "math_api",
    "MessageAPI": "message_api",
    "TwitterAPI": "posting_api",
    "TicketAPI": "ticket_api",
    "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking",
    "VehicleControlAPI": "vehicle_control",
}
"""Class → file of its source, and of its function documents."""
_STAND_INS = {
    "overrides": "from typing import final\n",
    "bfcl_eval.utils": "get_directory_structure_by_id = is_first_memory_prereq_entry = is_memory_prereq = None\n",
}
"""What memories import for their snapshot files. Here calls are repeated instead, and none of it is ever called."""


def setting(classes: Iterable[str], config: dict[str, object], *, long_context: bool) -> ApiSetting:
    """The APIs of a task in their first state.

    Raises:
        SourceMissing, SourceAltered: The wheel is not at hand, or another one.
    """
    files = [MODULES[name] for name in classes]
    return ApiSetting(
        modules={_dotted(file): _source(file) for file in (*files, _LONG)},
        classes={name: _dotted(MODULES[name]) for name in classes},
        stateless=["MathAPI"],
        config=config,
        long_context=long_context,
    )


def memory_setting(kind: str) -> ApiSetting:
    """An empty memory.

    Args:
        kind: kv or rec_sum.

    Raises:
        SourceMissing, SourceAltered: As `setting`.
    """
    file, name = f"memory_{kind}", f"MemoryAPI_{kind}"
    modules = {_dotted(file): _source(file) for file in ("memory_api_metaclass", file)} | _STAND_INS
    if kind == "kv":
        modules["rank_bm25"] = read_archive(BM25, ["rank_bm25.py"])["rank_bm25.py"]
    return ApiSetting(modules=modules, classes={name: _dotted(file)}, stateless=[name])


@cache
def prompt_texts() -> dict[str, Any]:
    """The constants by which the reference words its prompts, by their names there.

    Raises:
        SourceMissing, SourceAltered: As `setting`.
    """
    file = "bfcl_eval/constants/default_prompts.py"
    found = {}
    for node in ast.parse(read_archive(WHEEL, [file])[file]).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue  # made of other constants
    return found


def _dotted(file: str) -> str:
    return (_FOLDER + file).replace("/", ".")


@cache
def _source(file: str) -> str:
    return read_archive(WHEEL, [f"{_FOLDER}{file}.py"])[f"{_FOLDER}{file}.py"]
