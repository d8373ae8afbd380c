"""One run is one directory (contract 4), written so that it can be killed at any moment and continued.

Records go by (key, sample), the key being a hash of what was asked: order plays no part, so a suite may grow or be
shuffled between a run and its continuation. A later line for the same pair replaces an earlier one; only what is owed
again (a generation that failed, a verdict that was nobody's) is ever written twice.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from mellum_eval import jsonl
from mellum_eval.errors import UserError
from mellum_eval.records import Generation, Judgement, Manifest, Scores

Slot: TypeAlias = tuple[str, int]
"""(key, sample): one completion to be had and judged."""

_Model = TypeVar("_Model", bound=BaseModel)


class RunStore:
    """A run directory. `open` reads one, `create` and `resume` write one, and only one writer can have it."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._lock: int | None = None
        self._generations: jsonl.Appender | None = None
        self._judgements: jsonl.Appender | None = None

    @classmethod
    def open(cls, path: Path) -> RunStore:
        """A run to read; it may still be running.

        Raises:
            UserError: There is no run, or its manifest was altered.
        """
        return cls(path, _read_model(path / "run.json", Manifest, missing=f"{path}: not a run directory (no run.json)"))

    @classmethod
    def create(cls, path: Path, manifest: Manifest) -> RunStore:
        """A new run, `run.json` on disk before anything else.

        Raises:
            UserError: A run is there already, or the directory cannot be written.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}; choose another --out") from None
        store = cls(path, manifest)
        store._take_lock()
        try:
            if (path / "run.json").exists():
                raise _taken(path)
            store.write_manifest(manifest)
            store._open_for_writing()
        except BaseException:
            store.close()
            raise
        return store

    @staticmethod
    def check_free(path: Path) -> None:
        """Fail now, not after a model was loaded, where `create` would.

        Raises:
            UserError: A run is there already, or the directory cannot be written.
        """
        if (path / "run.json").exists():
            raise _taken(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            probe = path / f".probe.{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}; choose another --out") from None

    @classmethod
    def resume(cls, path: Path) -> RunStore:
        """A run to go on with: torn last lines and verdicts of lost generations are cut away.

        Raises:
            UserError: There is no run, another process is writing it, or it was altered.
        """
        store = cls.open(path)
        store._take_lock()
        try:
            store._drop_orphans()
            store._open_for_writing()
        except BaseException:
            store.close()
            raise
        return store

    def generations(self) -> Iterator[Generation]:
        """The completions, one a slot, in the order in which they came; read from disk as they are asked for."""
        yield from self._latest("generations.jsonl", Generation)

    def generations_of(self, slots: Collection[Slot]) -> Iterator[Generation]:
        """The completions of some slots, in one pass; the others are passed over without being parsed."""
        path = self.path / "generations.jsonl"
        keys = {key.encode("utf-8", "surrogatepass") for key, _ in slots}
        found: dict[Slot, tuple[int, bytes]] = {}
        lines = jsonl.raw(path)
        for number, _, line in lines:
            # Lines of ours begin with their key; one that does not, or has escapes in it, is looked at more closely.
            key = line[len(_KEY) : line.find(b'"', len(_KEY))] if line.startswith(_KEY) else b"\\"
            if key not in keys and b"\\" not in key:
                continue
            slot = _slot_of(path, number, line, lines)
            if slot is not None and slot in slots:
                found[slot] = number, line
        for number, line in sorted(found.values()):
            yield _record(line, Generation, f"{path}:{number}")

    def judgements(self) -> Iterator[Judgement]:
        """The verdicts, one a slot, in the order in which they came."""
        yield from self._latest("verdicts.jsonl", Judgement)

    def judgements_written(self) -> Iterator[Judgement]:
        """The verdicts as the file has them, in one pass: those that a later one replaced among them."""
        path = self.path / "verdicts.jsonl"
        lines = jsonl.raw(path)
        for number, _, line in lines:
            try:
                yield Judgement.model_validate_json(line)
            except ValidationError:
                if _slot_of(path, number, line, lines) is not None:
                    yield _record(line, Judgement, f"{path}:{number}")

    def generation_offsets(self) -> dict[Slot, int]:
        """Where each slot's completion begins in its file, in bytes; for `generation_at`."""
        return dict(_slots(self.path / "generations.jsonl"))

    def judgement_offsets(self) -> dict[Slot, int]:
        """Where each slot's verdict begins in its file, in bytes; for `judgement_at`."""
        return dict(_slots(self.path / "verdicts.jsonl"))

    def generation_at(self, offset: int) -> Generation:
        """The completion that begins there.

        Raises:
            UserError: The file was altered since the offset was taken.
        """
        return self._at("generations.jsonl", Generation, offset)

    def judgement_at(self, offset: int) -> Judgement:
        """The verdict that begins there.

        Raises:
            UserError: The file was altered since the offset was taken.
        """
        return self._at("verdicts.jsonl", Judgement, offset)

    def _at(self, name: str, kind: type[_Model], offset: int) -> _Model:
        path = self.path / name
        try:
            with path.open("rb") as file:
                file.seek(offset)
                line = file.readline()
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from None
        return _record(line, kind, f"{path}, byte {offset}")

    def scores(self) -> Scores | None:
        """`scores.json`, or None where the run never got to its end.

        Raises:
            UserError: It was altered.
        """
        path = self.path / "scores.json"
        return _read_model(path, Scores, missing="") if path.exists() else None

    def add_generation(self, record: Generation) -> None:
        """Append a completion."""
        _writer(self._generations).append(record.model_dump())

    def add_judgement(self, record: Judgement) -> None:
        """Append a verdict. Its generation must have been added before."""
        _writer(self._judgements).append(record.model_dump())

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace `run.json`."""
        self.manifest = manifest
        jsonl.write_atomically(self.path / "run.json", _pretty(manifest))

    def write_scores(self, scores: Scores) -> None:
        """Replace `scores.json`: the same scores give the same bytes."""
        leave_out: dict[str, Any] = {} if scores.overall else {"overall": True}
        if not any(suite.measures for suite in scores.suites.values()):
            leave_out["suites"] = {"__all__": {"measures"}}
        jsonl.write_atomically(self.path / "scores.json", _pretty(scores, leave_out=leave_out))

    def replace_judgements(self, records: Iterator[Judgement]) -> None:
        """Put other verdicts in the place of all there are, at once or, after a crash, not at all."""
        lines = "".join(jsonl.dumps(record.model_dump()) + "\n" for record in records)
        if self._judgements is not None:
            self._judgements.close()
        jsonl.write_atomically(self.path / "verdicts.jsonl", lines)
        self._judgements = jsonl.Appender(self.path / "verdicts.jsonl")

    def close(self) -> None:
        """Flush to the disk and let other writers in; more than once is fine."""
        try:
            for appender in (self._generations, self._judgements):
                if appender is not None:
                    appender.close()
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def __enter__(self) -> RunStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take_lock(self) -> None:
        path = self.path / ".lock"
        try:
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            # The kernel lets go of it however the process ends, so there is no stale lock to explain.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise UserError(f"{self.path} is being written by another process; wait for it or stop it") from None
        except OSError as error:
            self.close()
            raise UserError(f"{self.path}: {error.strerror}; choose another --out") from None

    def _open_for_writing(self) -> None:
        self._generations = jsonl.Appender(self.path / "generations.jsonl")
        self._judgements = jsonl.Appender(self.path / "verdicts.jsonl")

    def _drop_orphans(self) -> None:
        # After a power failure a verdict may be on disk and its generation not. A new generation must not inherit it.
        known = {(g.key, g.sample) for g in self.generations()}
        if any((j.key, j.sample) not in known for j in self.judgements()):
            keep = [j for j in self.judgements() if (j.key, j.sample) in known]
            jsonl.write_atomically(
                self.path / "verdicts.jsonl", "".join(jsonl.dumps(j.model_dump()) + "\n" for j in keep)
            )

    def _latest(self, name: str, kind: type[_Model]) -> Iterator[_Model]:
        path = self.path / name
        # A run that is still being written may have grown since the first pass: what is new is left for next time.
        offsets = set(dict(_slots(path)).values())
        for number, offset, line in jsonl.raw(path):
            if offset in offsets:
                yield _record(line, kind, f"{path}:{number}")


_KEY = b'{"key":"'


class _SlotOfLine(BaseModel):
    model_config = ConfigDict(strict=True)

    key: str
    sample: int


def _slots(path: Path) -> Iterator[tuple[Slot, int]]:
    """The slot of each line, and the line's offset in bytes."""
    lines = jsonl.raw(path)
    for number, offset, line in lines:
        slot = _slot_of(path, number, line, lines)
        if slot is None:
            return
        yield slot, offset


def _slot_of(path: Path, number: int, line: bytes, following: Iterator[object]) -> Slot | None:
    """The slot of a line; None for a last line that was cut off."""
    try:
        found = _SlotOfLine.model_validate_json(line)
    except ValidationError:  # altered, torn, or with a lone surrogate, which this parser refuses
        value = jsonl.parsed(path, number, line, following)
        return None if value is jsonl.TORN else _slot(path, number, value)
    return found.key, found.sample


def _record(line: bytes, kind: type[_Model], where: str) -> _Model:
    try:
        return kind.model_validate_json(line)
    except ValidationError:
        # Not the end: pydantic's own parser refuses the lone surrogates that a model may well write.
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: not a JSON line ({error}); the file was altered") from None
        return _validated(value, kind, where)


def _taken(path: Path) -> UserError:
    return UserError(f"{path} holds a run already; continue it with --resume, or choose another --out")


def _slot(path: Path, number: int, value: Any) -> Slot:
    key, sample = (value.get("key"), value.get("sample")) if isinstance(value, dict) else (None, None)
    if not isinstance(key, str) or not isinstance(sample, int):
        raise UserError(f"{path}:{number}: no key and sample; the file was altered")
    return key, sample


def _writer(appender: jsonl.Appender | None) -> jsonl.Appender:
    if appender is None:
        raise ValueError("this run was opened for reading")
    return appender


def _pretty(record: BaseModel, leave_out: dict[str, Any] | None = None) -> str:
    return json.dumps(json.loads(jsonl.dumps(record.model_dump(mode="python", exclude=leave_out))), indent=2) + "\n"


def _read_model(path: Path, kind: type[_Model], *, missing: str) -> _Model:
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(missing) from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error}); the file was altered") from None
    return _validated(value, kind, str(path))


def _validated(value: Any, kind: type[_Model], where: str) -> _Model:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "line"
        raise UserError(f"{where}: {field}: {first['msg']}; the file was altered or is of another version") from None
