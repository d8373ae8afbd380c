"""A `calls` check made ready: every argument list and expected value in the codec's bytes, once for many answers."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sandboxes.check import CallsCheck
from sandboxes.literals import LiteralError, parse_list
from sandboxes.runtime import wire
from sandboxes.runtime.codec import CodecError, encode, loads
from sandboxes.runtime.extras import Digest

CACHE_BYTES = 256 << 20
CACHE_CHECKS = 512


@dataclass(frozen=True, slots=True)
class Prepared:
    """Trusted bytes.

    Attributes:
        calls: Encoded argument list of each call.
        expected: Encoded expected value of each call.
        also: Encoded further right values of each call.
        only_digest: Calls of whose expected value only the digest is known.
        digests: Whether a right candidate sends any value as its digest.
        stream: The records that a right candidate sends, one after the other.
        offsets: Where in `stream` each record begins, and the end.
    """

    calls: list[bytes]
    expected: list[bytes]
    also: list[list[bytes]]
    only_digest: frozenset[int]
    digests: bool
    stream: bytes
    offsets: list[int]

    @property
    def size(self) -> int:
        """Bytes held, about."""
        return sum(map(len, self.calls)) + sum(map(len, self.expected)) + len(self.stream) + 200 * len(self.calls)


class Preparer:
    """Prepares checks and remembers the latest, so that k samples of a problem cost one encoding."""

    def __init__(self) -> None:
        self._known: OrderedDict[Any, tuple[CallsCheck, Prepared]] = OrderedDict()
        self._size = 0

    def __call__(self, check: CallsCheck) -> Prepared:
        """The prepared check.

        Raises:
            ValueError: A field is malformed; the message names it.
        """
        key = _key(check)
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known[1]
        made = prepare(check)
        if made.size <= CACHE_BYTES // 2:
            self._known[key] = (check, made)  # the check too: its identity is the key while it lives
            self._size += made.size
            while self._size > CACHE_BYTES or len(self._known) > CACHE_CHECKS:
                _, (_, dropped) = self._known.popitem(last=False)
                self._size -= dropped.size
        return made


def _key(check: CallsCheck) -> Any:
    if check.calls is not None or check.expected is not None:
        return id(check)
    return check.calls_py, check.calls_b64, check.expected_py, check.expected_b64, check.also_py


def prepare(check: CallsCheck) -> Prepared:
    """Encode a check's calls and expected values.

    Raises:
        ValueError: A field is malformed; the message names it.
    """
    calls = _entries(check.calls, check.calls_py, check.calls_b64, "calls")
    expected = _entries(check.expected, check.expected_py, check.expected_b64, "expected")
    if len(calls) != len(expected):
        raise ValueError(f"calls has {len(calls)} entries but expected has {len(expected)}")
    if not calls:
        raise ValueError("calls: there is none")
    for i, arguments in enumerate(calls):
        if arguments[:1] != b"[":
            raise ValueError(f"calls: entry {i} is a {type(loads(arguments)).__name__}, not a list of arguments")
    also: Sequence[Any] = [()] * len(calls) if check.also_py is None else parse_list(check.also_py, "also_py")
    if len(also) != len(calls) or not all(isinstance(values, (list, tuple)) for values in also):
        raise ValueError(f"also_py: a list of {len(calls)} lists is wanted, one for each call")
    for name, size in check.groups.items():
        if not 0 < size <= len(calls):
            raise ValueError(f"groups.{name}: {size} is not between 1 and the {len(calls)} calls")
    library = {i: loads(data) for i, data in enumerate(expected) if data[:1] == b"X"}
    digests = {i: value for i, value in library.items() if isinstance(value, Digest)}
    records = [_record(data, digests.get(i)) for i, data in enumerate(expected)]
    offsets = [0]
    for item in records:
        offsets.append(offsets[-1] + len(item))
    return Prepared(
        calls=calls,
        expected=expected,
        also=[[_encode(v, f"also_py: entry {i}") for v in values] for i, values in enumerate(also)],
        only_digest=frozenset(digests),
        digests=any(record[:1] == wire.DIGEST_OF for record in records),
        stream=b"".join(records),
        offsets=offsets,
    )


def _record(data: bytes, digest: Digest | None) -> bytes:
    if digest is not None:
        return wire.record(wire.DIGEST_OF, wire.DIGEST.pack(digest.length, digest.sha256))
    if len(data) <= wire.INLINE:
        return wire.record(wire.VALUE, data)
    return wire.record(wire.DIGEST_OF, wire.DIGEST.pack(len(data), sha256(data).digest()))


def _entries(plain: list[Any] | None, literal: str | None, packed: str | None, name: str) -> list[bytes]:
    """Each entry of a list, encoded."""
    if packed is not None:
        return unpack_entries(packed, f"{name}_b64")
    values = plain if plain is not None else parse_list(literal or "", f"{name}_py")
    if name == "calls":
        values = [list(v) if type(v) is tuple else v for v in values]
    return [_encode(value, f"{name}: entry {i}") for i, value in enumerate(values)]


def pack_entries(entries: Sequence[bytes]) -> bytes:
    """Values that are encoded already, as one blob: a tuple of them, encoded and deflated.

    Entry by entry, because that is how they are met with a candidate's answers: whoever reads the blob has them
    without decoding one.
    """
    return zlib.compress(encode(tuple(entries)), 1)


def pack_b64(values: Sequence[Any]) -> str:
    """The `calls_b64`/`expected_b64` form of a list of values."""
    return base64.b64encode(pack_entries([encode(value) for value in values])).decode("ascii")


def unpack_entries(text: str, field: str) -> list[bytes]:
    """The encoded values in a `..._b64` field: of `pack_entries`, or of a plain list in the codec's bytes.

    Raises:
        ValueError: It is no such text; names the field.
    """
    try:
        data = base64.b64decode(text, validate=True)
        value = loads(zlib.decompress(data) if data[:1] == b"x" else data)
    except (binascii.Error, zlib.error, CodecError, ValueError) as error:
        raise ValueError(f"{field}: not base64 of a list in the boundary codec ({error})") from None
    if type(value) is tuple and set(map(type, value)) <= {bytes}:
        return list(value)
    if type(value) is not list:
        raise ValueError(f"{field}: holds a {type(value).__name__}, not a list")
    return [_encode(item, f"{field}: entry {i}") for i, item in enumerate(value)]


def unpack_b64(text: str, field: str) -> list[Any]:
    """The inverse of `pack_b64`.

    Raises:
        ValueError: It is no such text; names the field.
    """
    return [loads(entry) for entry in unpack_entries(text, field)]


def _encode(value: Any, where: str) -> bytes:
    try:
        return encode(value)
    except CodecError as error:
        raise ValueError(f"{where}: {error}") from None


ready = Preparer()
"""The one that is shared: parsing a job prepares its check, judging it then finds it ready."""

__all__ = [
    "LiteralError",
    "Prepared",
    "Preparer",
    "pack_b64",
    "pack_entries",
    "prepare",
    "ready",
    "unpack_b64",
    "unpack_entries",
]
