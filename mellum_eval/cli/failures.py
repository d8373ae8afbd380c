"""From an exception to the one line that a person reads and the exit code that a script reads."""

from __future__ import annotations

import traceback

import typer

from mellum_eval.errors import PrerequisiteMissing, UserError
from sandboxes.errors import SandboxUnavailable
from suites.registry import UnknownSuite
from suites.sources import SourceAltered, SourceMissing

# Typer carries its own copy of click in newer versions and needs click in older ones: the class is found, not named.
_CLICK_ERROR = typer.BadParameter.__mro__[2]


def explain(error: Exception) -> tuple[int, str]:
    """Exit code and line for whatever ended a command."""
    if isinstance(error, _CLICK_ERROR):
        return 2, _usage(error)
    if isinstance(error, (PrerequisiteMissing, SandboxUnavailable, SourceMissing)):
        return 3, str(error)
    if isinstance(error, (UserError, SourceAltered, UnknownSuite)):
        return 2, str(error)
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        return 2, f"{where}{error.strerror}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return 70, (
        f"internal error, {type(error).__name__}: {error} (in {frame.name}); "
        "set MELLUM_DEBUG=1 for the traceback, and please report it"
    )


def _usage(error: Exception) -> str:
    message = str(error.format_message()) if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    return f"{message.rstrip('.')}; see `{context.command_path} --help`" if context is not None else message
