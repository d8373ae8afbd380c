"""Errors that end a command, each with its exit code (contract 2). One line for a person, no traceback."""

from __future__ import annotations


class UserError(Exception):
    """Bad usage or bad input: names the file, line, field or key, and the mend."""

    exit_code = 2


class PrerequisiteMissing(Exception):
    """Something is not installed, not running or not at hand. `mend` is the command that changes that."""

    exit_code = 3

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(f"{what}; {mend}")
        self.what = what
        self.mend = mend
