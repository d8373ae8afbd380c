"""A report's files on their way to the disk."""

from __future__ import annotations

from pathlib import Path

from mellum_eval.errors import UserError
from mellum_eval.jsonl import write_atomically


def write(out: Path, name: str, text: str) -> Path:
    """Write a file below `out`, whole or not at all.

    Raises:
        UserError: It cannot be written.
    """
    try:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out / name, text)
    except (OSError, UserError) as error:
        what = str(error) if isinstance(error, UserError) else f"{out}: {error.strerror}"
        raise UserError(f"{what}; choose another --out") from None
    return out / name
