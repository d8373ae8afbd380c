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
        stream: The records that a right candidate sends, one after the other.
        offsets: Where in `stream` each record begins, and the end.
    """

    calls: list[bytes]
    expected: list[bytes]
    also: list[list[bytes]]
    only_digest: frozenset[int]
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
        if made.size <= CACHE_BYTES // 4:
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
    calls = _values(check.calls, check.calls_py, check.calls_b64, "calls")
    expected = _values(check.expected, check.expected_py, check.expected_b64, "expected")
    if len(calls) != len(expected):
        raise ValueError(f"calls has {len(calls)} entries but expected has {len(expected)}")
    if not calls:
        raise ValueError("calls: there is none")
    also: Sequence[Any] = [()] * len(calls) if check.also_py is None else parse_list(check.also_py, "also_py")
    if len(also) != len(calls) or not all(isinstance(values, (list, tuple)) for values in also):
        raise ValueError(f"also_py: a list of {len(calls)} lists is wanted, one for each call")
    for name, size in check.groups.items():
        if not 0 < size <= len(calls):
            raise ValueError(f"groups.{name}: {size} is not between 1 and the {len(calls)} calls")
    encoded_calls = []
    for i, arguments in enumerate(calls):
        if not isinstance(arguments, (list, tuple)):
            raise ValueError(f"calls: entry {i} is a {type(arguments).__name__}, not a list of arguments")
        encoded_calls.append(_encode(list(arguments), f"calls: entry {i}"))
    encoded = [_encode(value, f"expected: entry {i}") for i, value in enumerate(expected)]
    digests = {i: value for i, value in enumerate(expected) if isinstance(value, Digest)}
    records = [_record(data, digests.get(i)) for i, data in enumerate(encoded)]
    offsets = [0]
    for item in records:
        offsets.append(offsets[-1] + len(item))
    return Prepared(
        calls=encoded_calls,
        expected=encoded,
        also=[[_encode(v, f"also_py: entry {i}") for v in values] for i, values in enumerate(also)],
        only_digest=frozenset(digests),
        stream=b"".join(records),
        offsets=offsets,
    )


def _record(data: bytes, digest: Digest | None) -> bytes:
    if digest is not None:
        return wire.record(wire.DIGEST_OF, wire.DIGEST.pack(digest.length, digest.sha256))
    if len(data) <= wire.INLINE:
        return wire.record(wire.VALUE, data)
    return wire.record(wire.DIGEST_OF, wire.DIGEST.pack(len(data), sha256(data).digest()))


def _values(plain: list[Any] | None, literal: str | None, packed: str | None, name: str) -> list[Any]:
    if plain is not None:
        return plain
    if literal is not None:
        return parse_list(literal, f"{name}_py")
    return unpack_b64(packed or "", f"{name}_b64")


def pack_b64(values: list[Any]) -> str:
    """The `calls_b64`/`expected_b64` form of a list of values: codec, zlib, base64."""
    return base64.b64encode(zlib.compress(encode(values), 6)).decode("ascii")


def unpack_b64(text: str, field: str) -> list[Any]:
    """The inverse of `pack_b64`; takes raw codec bytes too.

    Raises:
        ValueError: It is no such text; names the field.
    """
    try:
        data = base64.b64decode(text, validate=True)
        value = loads(zlib.decompress(data) if data[:1] == b"x" else data)
    except (binascii.Error, zlib.error, CodecError, ValueError) as error:
        raise ValueError(f"{field}: not base64 of a list in the boundary codec ({error})") from None
    if type(value) is not list:
        raise ValueError(f"{field}: holds a {type(value).__name__}, not a list")
    return value


def _encode(value: Any, where: str) -> bytes:
    try:
        return encode(value)
    except CodecError as error:
        raise ValueError(f"{where}: {error}") from None


ready = Preparer()
"""The one that is shared: parsing a job prepares its check, judging it then finds it ready."""

__all__ = ["LiteralError", "Prepared", "Preparer", "pack_b64", "prepare", "ready", "unpack_b64"]
