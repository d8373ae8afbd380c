"""Where records come from: JSON lines, Parquet, data sets of the hub, generators. Each can go on from any record.

A source is read by cursor: `read(cursor)` yields records with the cursor that stands after each, so that a reader that
was killed goes on at the very next one without reading what came before (files are sought, not skipped).
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from glob import glob
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias, cast

from ..errors import DataError
from ..recipes import Source as SourceSpec
from .records import Cursor, Record

Generator: TypeAlias = Callable[[str, Mapping[str, Any]], Sequence[Mapping[str, Any]]]
"""From a split and the recipe's options to records that can be asked for by number."""

PACKED = (".gz", ".zst")
"""Endings of files of lines that are unpacked as they are read."""

_SCHEMA = ("messages", "tools", "reasoning", "instances")


class Source(Protocol):
    """Records in a fixed order."""

    def read(self, cursor: Cursor) -> Iterator[tuple[Record, Cursor]]:
        """Records from a place on, each with the place after it, to the end of the source.

        Raises:
            DataError: A file is missing, damaged or not what the recipe says; the message names file and line.
        """
        ...


def open_unpacked(path: Path) -> BinaryIO:
    """A file's bytes, of `.gz` and `.zst` files those within.

    Raises:
        DataError: It is a `.zst` file, and pyarrow, which unpacks those, is not installed.
        OSError: It cannot be opened.
    """
    if path.suffix == ".gz":
        return cast(BinaryIO, gzip.open(path))
    if path.suffix == ".zst":
        try:
            import pyarrow
        except ImportError:
            raise DataError(f"{path}: pyarrow, which unpacks it, is not installed: pip install pyarrow") from None
        return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))
    return path.open("rb")


class JsonLines:
    """Files of one JSON object a line, as they are or packed by gzip or Zstandard."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files

    def read(self, cursor: Cursor) -> Iterator[tuple[Record, Cursor]]:
        """As `Source.read`."""
        first, offset = cursor.get("file", 0), cursor.get("offset", 0)
        line, ordinal = cursor.get("line", 0), cursor.get("ordinal", 0)
        for index in range(first, len(self._files)):
            path = self._files[index]
            try:
                with open_unpacked(path) as file:
                    _pass_over(file, offset)
                    for raw in file:
                        line, offset = line + 1, offset + len(raw)
                        if not raw.strip():
                            continue
                        record = Record(ordinal, _object(raw, f"{path}:{line}"), f"{path}:{line}")
                        ordinal += 1
                        yield record, {"file": index, "offset": offset, "line": line, "ordinal": ordinal}
            except (OSError, EOFError, zlib.error) as error:
                raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
            offset = line = 0


def _pass_over(file: BinaryIO, offset: int) -> None:
    """Go on from a byte: sought where that can be, read over where a packed file cannot."""
    if file.seekable():
        file.seek(offset)
        return
    while offset > 0:
        passed = len(file.read(min(offset, 1 << 20)))
        if not passed:
            return
        offset -= passed


class TextBlocks:
    """Plain text in blocks of lines that overlap: what stands in the file stands in a block, up to a kilobyte or so."""

    BLOCK, OVERLAP, LINE = 64 * 1024, 4096, 32 * 1024
    """Bytes of a block, of its end that the next one begins with, and of a line, which is cut there."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files

    def read(self, cursor: Cursor) -> Iterator[tuple[Record, Cursor]]:
        """As `Source.read`, by block: cursors are file and number of the block."""
        first, skip, ordinal = cursor.get("file", 0), cursor.get("block", 0), cursor.get("ordinal", 0)
        for index in range(first, len(self._files)):
            path = self._files[index]
            try:
                with open_unpacked(path) as file:
                    for number, (lines, text) in enumerate(self._blocks(file)):
                        if number < skip:
                            continue
                        record = Record(ordinal, {"text": text}, f"{path}:{lines}")
                        ordinal += 1
                        yield record, {"file": index, "block": number + 1, "ordinal": ordinal}
            except (OSError, EOFError, zlib.error) as error:
                raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
            skip = 0

    def _blocks(self, file: BinaryIO) -> Iterator[tuple[str, str]]:
        """Lines (`12-90`) and text."""
        kept: list[tuple[int, bytes]] = []
        size, number, fresh = 0, 1, False
        while raw := file.readline(self.LINE):
            kept.append((number, raw))
            size += len(raw)
            fresh = True
            number += raw.endswith(b"\n")
            if size >= self.BLOCK:
                yield _block(kept)
                fresh = False
                while size - len(kept[0][1]) >= self.OVERLAP:
                    size -= len(kept.pop(0)[1])
        if fresh:
            yield _block(kept)


def _block(lines: Sequence[tuple[int, bytes]]) -> tuple[str, str]:
    text = b"".join(raw for _, raw in lines).decode("utf-8", "replace")
    return f"{lines[0][0]}-{lines[-1][0]}", text


def _object(raw: bytes, where: str) -> Mapping[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not a JSON object ({error}); the shard is damaged or cut off") from None
    if not isinstance(value, dict):
        raise DataError(f"{where}: expected a JSON object, got a {type(value).__name__}")
    return value


class Parquet:
    """Parquet files, a batch of rows at a time."""

    BATCH = 1024

    def __init__(self, files: Sequence[Path], columns: Sequence[str] | None) -> None:
        """Of these columns, as far as they are there; None is all."""
        self._files, self._columns = files, columns

    def read(self, cursor: Cursor) -> Iterator[tuple[Record, Cursor]]:
        """As `Source.read`."""
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile

        first, skip, ordinal = cursor.get("file", 0), cursor.get("row", 0), cursor.get("ordinal", 0)
        for index in range(first, len(self._files)):
            path = self._files[index]
            try:
                with ParquetFile(path) as file:
                    for row, data in self._rows(file, skip):
                        record = Record(ordinal, data, f"{path}: row {row}")
                        ordinal += 1
                        yield record, {"file": index, "row": row, "ordinal": ordinal}
            except (ArrowException, OSError) as error:
                raise DataError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from None
            skip = 0

    def _rows(self, file: Any, skip: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Rows after the first `skip`, numbered from 1; row groups that lie before them are not read."""
        there = file.schema_arrow.names
        columns = [name for name in (there if self._columns is None else self._columns) if name in there]
        row = 0
        for group in range(file.num_row_groups):
            if row + file.metadata.row_group(group).num_rows <= skip:
                row += file.metadata.row_group(group).num_rows
                continue
            for batch in file.iter_batches(self.BATCH, row_groups=[group], columns=columns):
                for data in batch.to_pylist():
                    row += 1
                    if row > skip:
                        yield row, data


class HubDataset:
    """A data set of the Hugging Face hub, streamed by `datasets`, whose own state is the cursor."""

    def __init__(self, path: str, name: str | None, split: str) -> None:
        self._path, self._name, self._split = path, name, split

    def read(self, cursor: Cursor) -> Iterator[tuple[Record, Cursor]]:
        """As `Source.read`."""
        from datasets import load_dataset

        ordinal = cursor.get("ordinal", 0)
        try:
            data = load_dataset(self._path, self._name, split=self._split, streaming=True)
            if "state" in cursor:
                data.load_state_dict(cursor["state"])
            for row in data:
                record = Record(ordinal, row, f"{self._path}: row {ordinal + 1}")
                ordinal += 1
                yield record, {"state": data.state_dict(), "ordinal": ordinal}
        except (OSError, ValueError, LookupError) as error:
            raise DataError(f"data set {self._path}: {str(error).splitlines()[0]}") from None


class Generated:
    """The records of a generator."""

    def __init__(self, name: str, records: Sequence[Mapping[str, Any]]) -> None:
        self._name, self._records = name, records

    def read(self, cursor: Cursor) -> Iterator[tuple[Record, Cursor]]:
        """As `Source.read`."""
        for ordinal in range(cursor.get("ordinal", 0), len(self._records)):
            record = Record(ordinal, self._records[ordinal], f"{self._name}: {ordinal}")
            yield record, {"ordinal": ordinal + 1}


def open_source(name: str, spec: SourceSpec, generators: Mapping[str, Generator], root: Path) -> Source:
    """The source that a recipe names.

    Args:
        name: Its name in the recipe, for messages.
        spec: What the recipe says of it.
        generators: Those that the caller provides, by name.
        root: What relative paths are relative to.

    Raises:
        DataError: No such file or generator, the held-out side is asked for, or the source is empty.
    """
    source: Source
    if spec.kind == "generator":
        if spec.name is None or spec.name not in generators:
            known = ", ".join(sorted(generators)) or "none"
            raise DataError(f"sources.{name}.name: generator {spec.name!r} is not known; known: {known}")
        if spec.split != "train":
            raise DataError(f"sources.{name}.split: {spec.split!r}: only a generator's train side is trained on")
        try:
            source = Generated(spec.name, generators[spec.name](spec.split, spec.options))
        except (TypeError, ValueError) as error:
            raise DataError(f"sources.{name}.options: {error}") from None
    elif spec.kind == "hf":
        source = HubDataset(spec.path or "", spec.name, spec.split)
    else:
        files = _files(spec, root)
        if not files:
            raise DataError(f"sources.{name}.path: no {spec.kind} file matches {spec.path} under {root}")
        source = JsonLines(files) if spec.kind == "jsonl" else Parquet(files, (spec.field, *_SCHEMA))
    if not list(islice(source.read({}), 1)):
        raise DataError(f"sources.{name}: the source is empty")
    return source


def _files(spec: SourceSpec, root: Path) -> list[Path]:
    """A file, those of a directory, or those of a glob, in sorted order."""
    place = root / (spec.path or "")
    if place.is_dir():
        endings = tuple(f".{spec.kind}{packed}" for packed in ("", *(PACKED if spec.kind == "jsonl" else ())))
        return sorted(path for path in place.rglob("*") if path.name.endswith(endings) and path.is_file())
    return [Path(found) for found in sorted(glob(str(place), recursive=True)) if Path(found).is_file()]
