"""Expected values: what a data set's own solution returns, computed in the arena once and kept in the user's cache.

The solution is run as any candidate is, so nothing of it is trusted: its results cross the boundary as plain values,
are read with the codec's caps, and are written again here. A cache entry is named by the hash of program, entry point
and inputs, so it never goes stale; it carries its own hash, so that a torn or altered one is computed again.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandboxes.check import Limits
from sandboxes.errors import SandboxError
from sandboxes.prepared import pack_entries
from sandboxes.retry import judged
from sandboxes.runtime import wire
from sandboxes.runtime.codec import CodecError, TooBig, decode, encode
from sandboxes.runtime.extras import Digest
from sandboxes.sandbox import End, Role, Sandbox, Session
from suites.sources import cache_root

LONG = 64 * 1024
"""Bytes of an encoded string or number from which on its digest is kept instead: HumanEval/15 has 147 MB of them."""
VERSION = b"4"
"""Part of every entry's name: changes with the format of the entries."""


PATIENCE = (1.0, 4.0, 16.0)
"""Wall limits, in those of the task, that a solution is given one after the other: it is known to end, and on a machine
with twenty times too much to do a result of 15 MB takes minutes to be fetched. CPU time is limited as ever."""
LONGEST_WALL_S = 3600.0


class _Overran(SandboxError):
    pass


@dataclass(frozen=True, slots=True)
class Expected:
    """Inputs and results of a function, as a check carries them (`calls_b64`, `expected_b64`)."""

    calls: str = ""
    results: str = ""


class Oracle:
    """Runs solutions in a sandbox, or remembers that it did."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def expected(self, code: str, entry_point: str, inputs: Sequence[Sequence[Any]], limits: Limits) -> Expected:
        """What the function returns for each list of arguments.

        Raises:
            SandboxError: It could not be run, raised, or returned something that cannot leave the arena.
        """
        calls = [encode(list(arguments)) for arguments in inputs]
        entry = _entry(code, entry_point, calls)
        stored = _load(entry)
        if stored is None:
            stored = await self._patiently(code, entry_point, calls, limits)
            _store(entry, stored)
        return Expected(*(base64.b64encode(blob).decode("ascii") for blob in (pack_entries(calls), stored)))

    async def _patiently(self, code: str, entry_point: str, calls: list[bytes], limits: Limits) -> bytes:
        async def run(patience: float) -> bytes:
            longer = limits.model_copy(update={"wall_s": min(patience * limits.wall_s, LONGEST_WALL_S)})
            return await judged(self._sandbox, lambda: self._run(code, entry_point, calls, longer))

        for patience in PATIENCE[:-1]:
            try:
                return await run(patience)
            except _Overran:
                continue
        return await run(PATIENCE[-1])

    async def _run(self, code: str, entry_point: str, calls: list[bytes], limits: Limits) -> bytes:
        async with self._sandbox.session(Role.ARENA, limits) as session:
            await session.send(encode(("calls", code, entry_point, calls)))
            answers: list[tuple[bytes, bytes]] = []
            while len(answers) < len(calls):
                answers += await _answers(session, b"R", entry_point)
            values = [await _value(session, index, answer, entry_point) for index, answer in enumerate(answers)]
            await session.finish(kill=True)
        return pack_entries([encode(_shortened(value)) for value in values])


def _shortened(value: Any) -> Any:
    """The value, or its digest where that says as much: equal strings, bytes and ints have equal bytes."""
    if type(value) in (str, bytes, int) and len(data := encode(value)) > LONG:
        return Digest(len(data), hashlib.sha256(data).digest())
    return value


async def _value(session: Session, index: int, answer: tuple[bytes, bytes], entry_point: str) -> Any:
    status, body = answer
    digest = Digest(*wire.DIGEST.unpack(body)) if status == wire.DIGEST_OF else None
    if digest is not None:
        if digest.length > wire.LONGEST:
            return digest  # Mbpp/255 has a list of a gigabyte
        await session.send(b"F" + wire.LENGTH.pack(index))
        ((status, body),) = await _answers(session, b"f", entry_point)
    if status != wire.VALUE:
        said = body.replace(b"\0", b": ").decode("utf-8", "replace")[:200]
        raise SandboxError(f"the data set's own {entry_point} gave no plain value for call {index} ({said})")
    try:
        return decode(body)
    except TooBig:
        return digest  # more than the judge would read of any candidate's
    except CodecError as error:
        raise SandboxError(f"the data set's own {entry_point} returned an unreadable value: {error}") from error


async def _answers(session: Session, kind: bytes, entry_point: str) -> list[tuple[bytes, bytes]]:
    message = await session.receive()
    if message is None:
        ending = await session.finish()
        said = f"the data set's own {entry_point} did not end by itself: {ending.end} {ending.stderr_tail}".rstrip()
        raise (_Overran if ending.end is End.WALL_LIMIT else SandboxError)(said)
    if message[:1] != kind:
        raise SandboxError(f"the data set's own {entry_point} cannot be loaded: {message[1:200]!r}")
    return wire.records(message[1:])


def _entry(code: str, entry_point: str, calls: list[bytes]) -> Path:
    digest = hashlib.sha256(encode((VERSION, code, entry_point, calls))).hexdigest()
    return cache_root() / "oracle" / digest[:2] / digest[2:]


def _load(entry: Path) -> bytes | None:
    try:
        stored = entry.read_bytes()
    except OSError:
        return None
    digest, results = stored[:32], stored[32:]
    return results if hashlib.sha256(results).digest() == digest else None


def _store(entry: Path, results: bytes) -> None:
    """Atomically; a cache that cannot be written costs time, nothing else."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=entry.parent, delete=False) as file:
            file.write(hashlib.sha256(results).digest() + results)
        os.replace(file.name, entry)
    except OSError:
        return
