"""Where a suite's data comes from: pinned files, checked by sha256 before anything is read of them.

A file is looked for in the mirror that `MELLUM_DATA_DIR` names, then in the user's cache, then at its public origin.
With a mirror given, or `HF_HUB_OFFLINE=1`, nothing is downloaded behind the user's back; `mellum-eval data fetch` is
the explicit way. Two sums are pinned because mirrors re-pack: that of the file's bytes, and, for compressed or derived
files, that of the content, which is what an origin is held to. A file is good when either one fits. Where nobody here
has seen the file, no sum can be pinned: what the first fetch got is kept with its sum, and held to it from then on.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIRROR_VARIABLE = "MELLUM_DATA_DIR"


@dataclass(frozen=True, slots=True)
class DataSource:
    """One file of a benchmark.

    Attributes:
        file: Path in the mirror's layout, such as `gsm8k/test.jsonl.gz` under `MELLUM_DATA_DIR`.
        sha256: Of the file's bytes there; empty where no sum is known, so that the first fetch sets it.
        licence: SPDX identifier, or what the source says.
        origin: Where people get it: `hf:OWNER/NAME@REVISION/PATH` (of a data set; `hf-model:`, of a model),
            `pypi:NAME==VERSION` (its wheel), or an https address.
        content_sha256: Of the content once decompressed; empty where the file is not compressed.
        parts: Where the origin is several files: what replaces `{}` in `origin`, one after another.
        convert: Lazy target `module:function` that makes the content out of the parts' bytes, `(part, bytes)` pairs.
    """

    file: str
    sha256: str
    licence: str
    origin: str
    content_sha256: str = ""
    parts: tuple[str, ...] = ()
    convert: str = ""


def github(repository: str, commit: str, path: str) -> str:
    """The address of a file of a GitHub repository at one commit."""
    return f"https://raw.githubusercontent.com/{repository}/{commit}/{path}"


class SourceMissing(Exception):
    """A data file is not at hand. `mend` says how to get it."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(f"{what}; {mend}")
        self.what = what
        self.mend = mend


class SourceAltered(Exception):
    """A data file is not the pinned one: names the file and both sums."""


def cache_root() -> Path:
    """The user's cache of this program: `$XDG_CACHE_HOME/mellum-eval`, else `~/.cache/mellum-eval`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mellum-eval"


def mirror_root() -> Path | None:
    """The mirror that the user named, or None."""
    named = os.environ.get(MIRROR_VARIABLE)
    return Path(named) if named else None


def hub_is_offline() -> bool:
    """Whether the user has said that the hub is not to be asked."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}


def find(source: DataSource) -> Path | None:
    """The file in the mirror or in the cache, unchecked; None where it is in neither. Touches no network."""
    roots = (mirror_root(), cache_root() / "data")
    candidates = (root / source.file for root in roots if root is not None)
    return next((path for path in candidates if path.is_file()), None)


def resolve(source: DataSource) -> Path:
    """The checked file, downloaded first where that is allowed and needed.

    Raises:
        SourceMissing: It is nowhere, or could not be downloaded.
        SourceAltered: What was found is not the pinned file.
    """
    path = find(source)
    if path is not None:
        verify(source, path)
        return path
    mirror = mirror_root()
    if mirror is not None:
        raise SourceMissing(
            f"{source.file} is neither in {MIRROR_VARIABLE}={mirror} nor in {cache_root() / 'data'}",
            f"add it to the mirror, or run `{fetch_command(source)}` to get it from {source.origin}",
        )
    if hub_is_offline():
        raise _offline(source, "HF_HUB_OFFLINE is set")
    return fetch(source)


def fetch(source: DataSource) -> Path:
    """Download the file from its origin into the user's cache, check it, and only then put it in place.

    Raises:
        SourceMissing: The origin could not be reached, or the cache could not be written.
        SourceAltered: The origin now serves something else.
    """
    from suites.origins import ClientMissing, download

    target = cache_root() / "data" / source.file
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        content = download(source.origin, source.parts, source.convert)
        packed = gzip.compress(content, mtime=0) if target.suffix == ".gz" else content
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
            file.write(packed)
        temporary = Path(file.name)
        try:
            verify(source, temporary, named=source.origin)
            temporary.replace(target)
            if not source.sha256:
                _sum_file(target).write_text(sum_of(source) + "\n", "utf-8")
        finally:
            temporary.unlink(missing_ok=True)
    except ClientMissing as error:
        raise SourceMissing(
            f"{source.file} comes from {error}",
            f'run `pip install "mellum-eval[data]"`, or point {MIRROR_VARIABLE} at a mirror',
        ) from error
    except OSError as error:
        raise _offline(source, f"{type(error).__name__}: {error}") from error
    return target


def _offline(source: DataSource, why: str) -> SourceMissing:
    return SourceMissing(
        f"{source.file} is not at hand and could not be fetched from {source.origin} ({why})",
        f"run `{fetch_command(source)}` where the network is, or point {MIRROR_VARIABLE} at a mirror that has it",
    )


def fetch_command(source: DataSource) -> str:
    """The command that brings this source into the cache; sources are named by their folder."""
    return f"mellum-eval data fetch {source.file.split('/')[0]}"


_verified: set[tuple[str, int, int, str]] = set()


def verify(source: DataSource, path: Path, *, named: str = "") -> None:
    """Hold a file to the pinned sums (once for each unchanged file in a process).

    Raises:
        SourceAltered: Neither sum fits.
    """
    status = path.stat()
    key = (str(path), status.st_size, status.st_mtime_ns, source.sha256)
    if key in _verified:
        return
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    pinned = source.sha256 or _first_sum(path) or found
    if found != pinned:
        if source.content_sha256:
            try:
                found = hashlib.sha256(gzip.decompress(data) if path_is_packed(source) else data).hexdigest()
            except (OSError, EOFError):
                found += " (not gzip)"
        if found != source.content_sha256:
            raise SourceAltered(
                f"{named or path} is not the pinned {source.file}: sha256 is {found}, "
                f"expected {source.content_sha256 or pinned}; get the file again from {source.origin}"
            )
    _verified.add(key)


def sum_of(source: DataSource) -> str:
    """The pinned sum; of a file without one, that of what is at hand; empty where nothing is."""
    path = None if source.sha256 else find(source)
    return source.sha256 if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


def _sum_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _first_sum(path: Path) -> str:
    """What the first fetch got, where a sum is kept beside the file."""
    try:
        return _sum_file(path).read_text("utf-8").strip()
    except OSError:
        return ""


def path_is_packed(source: DataSource) -> bool:
    """Whether the mirror's file is compressed."""
    return source.file.endswith(".gz")


def _text(source: DataSource) -> Iterator[str]:
    path = resolve(source)
    packed = path_is_packed(source)
    with (
        gzip.open(path, "rt", encoding="utf-8", newline="")
        if packed
        else path.open(encoding="utf-8", newline="") as rows
    ):
        yield from rows


def read_jsonl(source: DataSource) -> Iterator[dict[str, Any]]:
    """The rows of a file with one JSON object a line, gzipped or not."""
    for line in _text(source):
        if line.strip():
            yield json.loads(line)


def read_text(source: DataSource) -> str:
    """The whole of a text file, gzipped or not."""
    return "".join(_text(source))


def read_json(source: DataSource) -> Any:
    """The value of a file that is one JSON document, gzipped or not."""
    return json.loads(read_text(source))


def read_parquet(source: DataSource) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file.

    Raises:
        SourceMissing: pyarrow, which reads it, is not installed.
    """
    path = resolve(source)
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise SourceMissing(
            f"{source.file} is a Parquet file, and pyarrow is not installed", 'run `pip install "mellum-eval[data]"`'
        ) from error
    yield from pyarrow.parquet.read_table(path).to_pylist()


def read_archive(source: DataSource, members: Collection[str]) -> dict[str, str]:
    """Text files of a wheel or another zip file, by name; nothing of it is imported or unpacked.

    Raises:
        KeyError: It has no such member.
    """
    with zipfile.ZipFile(resolve(source)) as archive:
        return {name: archive.read(name).decode("utf-8") for name in members}


def read_csv(source: DataSource) -> Iterator[dict[str, str]]:
    """The rows of a CSV file with a header line, gzipped or not."""
    yield from csv.DictReader(_text(source))
