"""The boundary codec: values of builtin types as tagged bytes, and nothing else, in both directions.

The grammar for plain values (None, bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset) is
deliberately that of CPython's `marshal`, version 2, the same since Python 2.5: so whoever *writes* values that are its
own (the candidate its results, the harness its inputs) may use C speed, and one memcmp tells whether bytes are equal.
Whoever *reads* bytes that a candidate wrote uses `decode` below, in Python, with caps; `marshal.loads` sees trusted
bytes only. Two forms are added to the grammar: `X` kind value, for library types (`extras`), and `H` u32, an opaque
handle to an object that stays where it is.

Deterministic: equal values of equal types give equal bytes, dicts in insertion order excepted (and sets before 3.11,
and sets nested deeper than `MAX_PLAIN_SETS`).
"""

from __future__ import annotations

import builtins
import struct
import sys
from collections.abc import Callable, Iterator
from itertools import chain, islice
from marshal import dumps
from marshal import loads as _read
from struct import Struct
from typing import Any

__builtins__ = dict(vars(builtins))  # type: ignore[assignment]  # ours alone: a candidate may replace names

MAX_DEPTH = 1000
"""Containers within containers. Enough for any answer; marshal's own cap is 2000."""
MAX_NODES = 4_000_000
"""Values in one message, where a candidate's bytes are decoded on the host."""
MAX_PLAIN_SETS = 4
"""Sets within sets that marshal may write: it writes a set's elements twice, to sort them, so 100 levels never end."""
VERSION = 2

_U32, _I32 = Struct("<I"), Struct("<i")

SCALARS = frozenset({type(None), bool, int, float, complex, str, bytes})
CONTAINERS = frozenset({list, tuple, dict, set, frozenset})

_mro: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__  # what no metaclass can forge


class CodecError(Exception):
    """Bytes that are no value, or a value that cannot be sent. The only error of this module."""


class TooBig(CodecError):
    """A value over the caps."""


Opaque = Callable[[Any], int]
"""Gives an object that cannot be sent a handle's number (or raises `CodecError`)."""


def refuse(value: Any) -> int:
    """The default of `opaque`: nothing is sent by handle."""
    raise CodecError(f"a value of type {type(value).__name__} cannot be sent")


# -- writing ----------------------------------------------------------------------------------------------------------


def is_plain(value: Any) -> bool:
    """Whether a value is of exact builtin types all the way down: walks level by level, with C loops inside."""
    kind = type(value)
    if kind in SCALARS:
        return True
    if kind not in CONTAINERS:
        return False
    level: Any = (value,)
    sets = 0
    for _ in range(MAX_DEPTH):
        here = set(map(type, level))
        if set in here or frozenset in here:
            sets += 1
            if sets > MAX_PLAIN_SETS:
                return False
        if dict in here:
            level = [part for c in level for part in ((c.keys(), c.values()) if type(c) is dict else (c,))]
        kinds = set(map(type, chain.from_iterable(level)))
        inner = kinds - SCALARS
        if not inner:
            return True
        if not inner <= CONTAINERS:
            return False
        if len(kinds) == len(inner):
            level = next(iter(level)) if len(level) == 1 else list(chain.from_iterable(level))
        else:
            level = [v for v in chain.from_iterable(level) if type(v) not in SCALARS]
        if len(level) > 100_000_000:
            return False
    return False


def encode(value: Any, opaque: Opaque = refuse, max_nodes: int = 50_000_000) -> bytes:
    """The bytes of a value.

    Subclasses of builtins are sent as the builtin value they hold, read with the builtin's own methods; the library
    types of `extras` as themselves; anything else through `opaque`.

    Raises:
        TooBig: It nests deeper than `MAX_DEPTH` (cycles do) or has more than `max_nodes` values.
        CodecError: It holds something that `opaque` refuses.
    """
    if is_plain(value):
        try:
            return dumps(value, VERSION)
        except ValueError:
            raise TooBig("the value is nested too deeply or too large") from None
    return _encode_mixed(value, opaque, max_nodes)


def _encode_mixed(value: Any, opaque: Opaque, max_nodes: int) -> bytes:
    from sandboxes.runtime import extras

    out: list[bytes] = []
    stack: list[tuple[Iterator[Any], bytes]] = [(iter((value,)), b"")]
    while stack:
        items, trailer = stack[-1]
        for item in items:
            max_nodes -= 1
            if max_nodes < 0:
                raise TooBig("the value has too many parts")
            kind = type(item)
            if kind in SCALARS:
                out.append(dumps(item, VERSION))
                continue
            if kind not in CONTAINERS:
                builtin = next((base for base in _mro(kind) if base in SCALARS or base in CONTAINERS), None)
                extra = extras.pack(item, kind)
                if extra is not None:
                    out.append(extra[0])
                    stack.append((iter((extra[1],)), b""))
                    break
                if builtin is None:
                    out.append(b"H" + _U32.pack(opaque(item)))
                    continue
                item = extras.flatten(item, builtin)
                kind = builtin
                if kind in SCALARS:
                    out.append(dumps(item, VERSION))
                    continue
            if kind is dict:
                out.append(b"{")
                stack.append((chain.from_iterable(item.items()), b"0"))
            else:
                out.append(_HEADS[kind] + _I32.pack(len(item)))
                stack.append((iter(item), b""))
            break
        else:
            out.append(trailer)
            stack.pop()
        if len(stack) > MAX_DEPTH:
            raise TooBig("the value is nested too deeply")
    return b"".join(out)


_HEADS: dict[type, bytes] = {list: b"[", tuple: b"(", set: b"<", frozenset: b">"}


def encode_pieces(value: Any, opaque: Opaque = refuse, piece: int = 16384) -> Iterator[bytes]:
    """`encode` in pieces, for a long list or tuple of plain values: the whole never stands in memory twice."""
    if type(value) in (list, tuple) and len(value) > 4 * piece and is_plain(value):
        yield _HEADS[type(value)] + _I32.pack(len(value))
        items = iter(value)
        try:
            while part := tuple(islice(items, piece)):
                yield dumps(part, VERSION)[5:]
        except ValueError:
            raise TooBig("the value is nested too deeply or too large") from None
    else:
        yield encode(value, opaque)


# -- reading ----------------------------------------------------------------------------------------------------------


def loads(data: bytes) -> Any:
    """Read *trusted* bytes: C speed where they are plain."""
    try:
        return _read(data)
    except (ValueError, EOFError, TypeError):
        return decode(data, max_nodes=sys.maxsize)


def decode(
    data: bytes, handle: Callable[[int], Any] | None = None, max_nodes: int = MAX_NODES, plain: bool = False
) -> Any:
    """Read bytes that anybody may have written.

    Takes memory in proportion to the input, at most about 40 bytes a byte, and time likewise, except that hashing
    dict keys and set elements made to collide is quadratic: whoever cannot bear that limits `data` or the process.

    Args:
        data: One value.
        handle: Makes an object of a handle's number; without it handles are an error.
        max_nodes: Values at most.
        plain: Refuse library types, whose constructors and operators are no code of ours.

    Raises:
        CodecError: It is not the encoding of one value, or over the caps.
    """
    try:
        return _decode(data, handle, max_nodes, plain)
    except CodecError:
        raise
    except (
        struct.error,
        IndexError,
        UnicodeDecodeError,
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise CodecError(f"malformed value: {type(error).__name__}") from None


def _decode(data: bytes, handle: Callable[[int], Any] | None, max_nodes: int, plain: bool) -> Any:
    size = len(data)
    pos = 0
    # One entry a container that is being read: tag, how many items are still to come (-1: until "0"), its items.
    stack: list[tuple[int, list[Any]]] = []
    wanted: list[int] = []
    u32 = _U32.unpack_from
    while True:
        if pos >= size:
            raise CodecError("the value ends too early")
        tag = data[pos]
        pos += 1
        max_nodes -= 1
        if max_nodes < 0:
            raise TooBig("too many values")
        done = True
        value: Any
        if tag == 0x75 or tag == 0x73:  # u, s
            (length,) = u32(data, pos)
            pos += 4
            if length > size - pos:
                raise CodecError("a string is longer than the message")
            value = data[pos : pos + length]
            if tag == 0x75:
                value = value.decode("utf-8", "surrogatepass")
            pos += length
        elif tag == 0x69:  # i
            (value,) = struct.unpack_from("<i", data, pos)
            pos += 4
        elif tag == 0x67:  # g
            (value,) = struct.unpack_from("<d", data, pos)
            pos += 8
        elif tag == 0x54:
            value = True
        elif tag == 0x46:
            value = False
        elif tag == 0x4E:
            value = None
        elif tag == 0x6C:  # l
            value, pos = _long(data, pos)
        elif tag == 0x79:  # y
            value = complex(*struct.unpack_from("<dd", data, pos))
            pos += 16
        elif tag in _SIZED:
            (length,) = u32(data, pos)
            pos += 4
            if length > size - pos:  # every item takes a byte at least: no header makes us allocate
                raise CodecError("a container is longer than the message")
            packed = _packed(data, pos, length) if length >= 8 else None
            if packed is not None:
                items, pos = packed
                max_nodes -= length
                value = _build(tag, items)
            elif length == 0:
                value = _build(tag, [])
            else:
                stack.append((tag, []))
                wanted.append(length)
                done = False
        elif tag == 0x7B:  # {
            stack.append((tag, []))
            wanted.append(-1)
            done = False
        elif tag == 0x30 and stack and stack[-1][0] == 0x7B:  # 0, the end of a dict
            _, items = stack.pop()
            wanted.pop()
            value = dict(zip(items[::2], items[1::2])) if len(items) % 2 == 0 else _odd()
        elif tag == 0x48 and handle is not None:  # H
            value = handle(u32(data, pos)[0])
            pos += 4
        elif tag == 0x58 and not plain:  # X
            if pos >= size:
                raise CodecError("the value ends too early")
            stack.append((0x100 | data[pos], []))
            wanted.append(1)
            pos += 1
            done = False
        else:
            raise CodecError(f"unknown tag {tag:#x}")
        if len(stack) > MAX_DEPTH:
            raise TooBig("nested too deeply")
        while done:
            if not stack:
                if pos != size:
                    raise CodecError("bytes after the value")
                return value
            tag, items = stack[-1]
            items.append(value)
            wanted[-1] -= 1
            if wanted[-1] != 0:
                break
            stack.pop()
            wanted.pop()
            value = _build(tag, items)


_SIZED = frozenset(b"[(<>")


def _odd() -> Any:
    raise CodecError("a dict has a key without a value")


def _build(tag: int, items: list[Any]) -> Any:
    if tag == 0x5B:
        return items
    if tag == 0x28:
        return tuple(items)
    if tag == 0x3C:
        return set(items)
    if tag == 0x3E:
        return frozenset(items)
    from sandboxes.runtime import extras

    try:
        return extras.unpack(tag & 0xFF, items[0])
    except CodecError:
        raise
    except Exception as error:  # the constructors of library types, fed with anything
        raise CodecError(f"malformed value: {type(error).__name__}") from None


def _packed(data: bytes, pos: int, length: int) -> tuple[list[Any], int] | None:
    """Items that are all int32, all floats or all bools, at C speed; None if they are not."""
    tag = data[pos]
    if tag == 0x69 or tag == 0x67:
        width, form = (5, "<xi") if tag == 0x69 else (9, "<xd")
        end = pos + width * length
        if end <= len(data) and data[pos:end:width].count(tag) == length:
            return [v for (v,) in struct.iter_unpack(form, data[pos:end])], end
    elif tag == 0x54 or tag == 0x46:
        end = pos + length
        part = data[pos:end]
        if part.count(0x54) + part.count(0x46) == length:
            return [b == 0x54 for b in part], end
    return None


def _long(data: bytes, pos: int) -> tuple[int, int]:
    """An int of 15-bit digits. Checked here; then C puts the digits together in linear time."""
    (count,) = struct.unpack_from("<i", data, pos)
    digits = abs(count)
    end = pos + 4 + 2 * digits
    if end > len(data):
        raise CodecError("an int is longer than the message")
    if digits == 0:
        return 0, end
    high = data[pos + 5 : end : 2]
    if max(high) > 0x7F or data[end - 2 : end] == b"\0\0":
        raise CodecError("malformed int")
    value: int = _read(b"l" + data[pos:end])
    return value, end
