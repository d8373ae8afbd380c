"""Library types that cross the boundary as themselves, and the plain values that stand for all others.

Types are known by module and name, and looked up among the modules that are loaded: whoever holds a `Decimal` has
imported `decimal`. A candidate that forges a type forges its own answer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

MAX_DRAINED = 100_000
"""Items taken from an iterator that is sent as its items. One that yields more stays opaque."""


class _Cannot(Exception):
    """This one is not sent that way."""


def _drain(iterator: Any) -> list[Any]:
    from itertools import islice

    items = list(islice(iterator, MAX_DRAINED + 1))
    if len(items) > MAX_DRAINED:
        raise _Cannot
    return items


class Digest(NamedTuple):
    """Stands in a list of expected values for one too large to keep: length and SHA-256 of its encoding.

    A result meets it by encoding to the very bytes; no tolerance applies.
    """

    length: int
    sha256: bytes


_PACKERS: dict[tuple[str, str], tuple[bytes, Callable[[Any], Any]]] = {
    ("collections", "Counter"): (b"C", lambda v: dict(dict.items(v))),
    ("collections", "OrderedDict"): (b"O", lambda v: [list(pair) for pair in v.items()]),
    ("collections", "deque"): (b"q", list),
    ("decimal", "Decimal"): (b"d", str),
    ("fractions", "Fraction"): (b"f", lambda v: (v.numerator, v.denominator)),
    ("datetime", "date"): (b"D", lambda v: v.isoformat()),
    ("datetime", "datetime"): (b"T", lambda v: v.isoformat()),
    ("datetime", "time"): (b"t", lambda v: v.isoformat()),
    ("datetime", "timedelta"): (b"s", lambda v: (v.days, v.seconds, v.microseconds)),
    (__name__, "Digest"): (b"#", lambda v: (v.length, v.sha256)),
    ("builtins", "range"): (b"r", lambda v: (v.start, v.stop, v.step)),
    ("builtins", "bytearray"): (b"b", bytes),
    ("builtins", "dict_keys"): (b"K", list),
    ("builtins", "dict_values"): (b"V", list),
    ("builtins", "dict_items"): (b"I", lambda v: [list(pair) for pair in v]),
}
_ITERATORS = frozenset(
    {
        *("generator", "map", "filter", "zip", "enumerate", "reversed", "list_iterator", "tuple_iterator"),
        *("set_iterator", "str_iterator", "str_ascii_iterator", "range_iterator", "list_reverseiterator"),
        *("dict_keyiterator", "dict_valueiterator", "dict_itemiterator"),
    }
)
"""Builtin iterators: sent as their items and rebuilt as an iterator, so that a test may ask for `list(f(x))`."""


def pack(value: Any, kind: type) -> tuple[bytes, Any] | None:
    """The tag and the plain stand-in of a library type's value; None if it is none (or cannot be had).

    NumPy's scalars have no tag: they are sent as the builtin number.
    """
    key = (kind.__module__, kind.__name__)
    try:
        entry = _PACKERS.get(key)
        if entry is not None and getattr(sys.modules.get(key[0]), key[1], kind) is kind:
            return b"X" + entry[0], entry[1](value)
        if key[0] == "builtins" and key[1] in _ITERATORS:
            return b"Xi", _drain(value)
        if key[0] == "itertools":
            return b"Xi", _drain(iter(value))
        if key[0] == "numpy" and getattr(sys.modules.get("numpy"), "generic", None) in type.mro(kind):
            plain = value.item()
            if type(plain) in (bool, int, float, complex, str, bytes):
                return b"", plain
    except _Cannot:
        return None
    except TypeError:
        return None  # unhashable names of a forged type
    return None


def unpack(kind: int, value: Any) -> Any:
    """The inverse of `pack`. Raises whatever the constructors raise for malformed stand-ins."""
    return _UNPACKERS[kind](value)


def flatten(value: Any, builtin: type) -> Any:
    """The builtin value inside an instance of a subclass, without asking the subclass."""
    if builtin is str:
        return str.__str__(value)
    if builtin is bytes:
        return bytes.__getitem__(value, slice(None))
    if builtin in (int, float, complex):
        return builtin.__pos__(value)
    if builtin is dict:
        return dict(dict.items(value))
    return builtin(builtin.__iter__(value))  # type: ignore[attr-defined]


def _counter(value: Any) -> Any:
    from collections import Counter

    result: Any = Counter()
    dict.update(result, _typed(value, dict))
    return result


def _ordered(value: Any) -> Any:
    from collections import OrderedDict

    return OrderedDict((k, v) for k, v in _typed(value, list))


def _deque(value: Any) -> Any:
    from collections import deque

    return deque(_typed(value, list))


def _decimal(value: Any) -> Any:
    from decimal import Decimal

    return Decimal(_typed(value, str))


def _fraction(value: Any) -> Any:
    from fractions import Fraction

    numerator, denominator = value
    return Fraction(_typed(numerator, int), _typed(denominator, int))


def _date(name: str) -> Callable[[Any], Any]:
    def make(value: Any) -> Any:
        import datetime

        return getattr(datetime, name).fromisoformat(_typed(value, str))

    return make


def _timedelta(value: Any) -> Any:
    import datetime

    days, seconds, microseconds = value
    return datetime.timedelta(_typed(days, int), _typed(seconds, int), _typed(microseconds, int))


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(kind.__name__)
    return value


_UNPACKERS: dict[int, Callable[[Any], Any]] = {
    ord("C"): _counter,
    ord("O"): _ordered,
    ord("q"): _deque,
    ord("d"): _decimal,
    ord("f"): _fraction,
    ord("D"): _date("date"),
    ord("T"): _date("datetime"),
    ord("t"): _date("time"),
    ord("s"): _timedelta,
    ord("#"): lambda v: Digest(_typed(v[0], int), _typed(v[1], bytes)),
    ord("r"): lambda v: range(*(_typed(n, int) for n in _typed(v, tuple))),
    ord("b"): lambda v: bytearray(_typed(v, bytes)),
    ord("K"): lambda v: dict.fromkeys(_typed(v, list)).keys(),
    ord("V"): lambda v: dict(enumerate(_typed(v, list))).values(),
    ord("I"): lambda v: dict((k, x) for k, x in _typed(v, list)).items(),
    ord("i"): lambda v: iter(_typed(v, list)),
}
