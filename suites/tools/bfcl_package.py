"""The simulated APIs of BFCL's multi-turn tasks: read out of the reference's own wheel, and run in the sandbox only.

The wheel (bfcl-eval 2026.3.23, whose dependencies nobody could install beside ours) is a pinned file like any other
data. Its modules are source text here: never imported on this side, sent with each job to the judge.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from sandboxes.check import ApiSetting
from suites.sources import DataSource, read_archive

WHEEL = DataSource(
    file="bfcl_eval/bfcl_eval-2026.3.23-py3-none-any.whl",
    sha256="3bb6dfa5f0c68ad403c9ec50b00db2bb3b4cc9b38ab1ff33f48fe30d853d3a0a",
    licence="Apache-2.0",
    origin="pypi:bfcl-eval==2026.3.23",
)
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


def _dotted(file: str) -> str:
    return (_FOLDER + file).replace("/", ".")


@cache
def _source(file: str) -> str:
    return read_archive(WHEEL, [f"{_FOLDER}{file}.py"])[f"{_FOLDER}{file}.py"]
