"""Append-only files of JSON lines that survive a kill at any byte, and small files that are whole or absent.

A line is written by one `write` that ends in its newline, so a line without one (or a last line that is no JSON) was
cut off: whoever reads skips it, whoever appends cuts it away first. Anything wrong before the last line is no crash
but an edit, and an error.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mellum_eval.errors import UserError

_SYNC_EVERY_S = 1.0
_AT_ONCE = 1 << 18
"""Bytes read at once: lines of prompts and answers are long, and a leaderboard reads gigabytes of them."""
_DEPTH = 60
_DIGITS = 4000


def dumps(value: Any) -> str:
    """JSON of any value that a record may hold, hostile ones too, on one ASCII line.

    What JSON or Python's parser would refuse to read back (NaN, integers beyond the parser's digit limit, nesting
    beyond its recursion limit) becomes a string: a model may put such things into a tool call's arguments.
    """
    try:
        text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        if text.count("[") + text.count("{") > _DEPTH:
            json.loads(text)  # the reader may have less of the stack to itself than the writer
    except (ValueError, RecursionError, TypeError):
        text = json.dumps(_plain(value, _DEPTH), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text


def _plain(value: Any, depth: int) -> Any:
    if depth == 0:
        return "…"
    if isinstance(value, dict):
        return {str(k): _plain(v, depth - 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v, depth - 1) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > _DIGITS:
        return hex(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def read(path: Path) -> Iterator[tuple[int, int, Any]]:
    """The lines of a file as (line number from 1, offset in bytes, parsed value); a cut-off last line is left out.

    Raises:
        UserError: A line before the last is no JSON, or the file cannot be read.
    """
    lines = raw(path)
    for number, offset, line in lines:
        value = parsed(path, number, line, lines)
        if value is TORN:
            return
        yield number, offset, value


TORN = object()
"""What `parsed` gives for a last line that was cut off."""


def raw(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """The whole lines of a file, not parsed, as (line number from 1, offset in bytes, bytes); none where no file is.

    Raises:
        UserError: The file cannot be read.
    """
    offset = 0
    try:
        with path.open("rb", buffering=_AT_ONCE) as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return
                yield number, offset, line
                offset += len(line)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def parsed(path: Path, number: int, line: bytes, following: Iterator[object]) -> Any:
    """The value of a line, or `TORN` where it is no JSON and nothing follows.

    Raises:
        UserError: It is no JSON and something follows: the file was altered.
    """
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        if next(following, None) is None:
            return TORN
        raise UserError(f"{path}:{number}: not a JSON line ({error}); the file was altered") from None


class Appender:
    """One file being appended to, by one writer."""

    def __init__(self, path: Path) -> None:
        """Open the file, cutting off a torn last line.

        Raises:
            UserError: It cannot be written, or was altered.
        """
        self._path = path
        self._synced = time.monotonic()
        self._dirty = False
        end = 0
        for _, offset, _ in read(path):
            end = offset
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            if os.fstat(self._fd).st_size:
                os.truncate(self._fd, self._end_of_line_at(end))
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from None

    def _end_of_line_at(self, offset: int) -> int:
        """Where the whole line that starts at `offset` ends; `offset` itself if it is no whole line."""
        with self._path.open("rb") as file:
            file.seek(offset)
            line = file.readline()
        try:
            json.loads(line)
        except (ValueError, RecursionError):
            return offset
        return offset + len(line) if line.endswith(b"\n") else offset

    def append(self, value: Any) -> None:
        """Add a line. After a return it survives the death of this process; after `sync`, that of the machine.

        Raises:
            UserError: The disk is full, or the directory can no longer be written.
        """
        data = (dumps(value) + "\n").encode("ascii")
        try:
            while data:
                data = data[os.write(self._fd, data) :]
            self._dirty = True
            if time.monotonic() - self._synced > _SYNC_EVERY_S:
                self.sync()
        except OSError as error:
            raise UserError(f"{self._path}: {error.strerror}; mend that and continue with --resume") from None

    def sync(self) -> None:
        """Wait until the disk has it."""
        if self._dirty:
            os.fsync(self._fd)
        self._dirty = False
        self._synced = time.monotonic()

    def close(self) -> None:
        """Sync and close; more than once is fine."""
        if self._fd >= 0:
            try:
                self.sync()
            finally:
                os.close(self._fd)
                self._fd = -1


def write_atomically(path: Path, text: str) -> None:
    """Replace a small file: readers see the old one or the new one, and after a crash one of both is there.

    Raises:
        UserError: The directory cannot be written or is full.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with scratch.open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(scratch, path)
        finally:
            scratch.unlink(missing_ok=True)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
