"""The codec carries what it says, the same way each time, and takes any bytes at all without harm."""

from __future__ import annotations

import sys
import tracemalloc
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sandboxes.runtime import codec
from sandboxes.runtime.codec import CodecError, TooBig, decode, encode, encode_pieces, loads

HASHABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.complex_numbers()
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner).map(tuple) | st.frozensets(inner),
    max_leaves=4,
)
VALUES = st.recursive(
    HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=20)
        | st.lists(inner).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=5)
        | st.sets(HASHABLE, max_size=5)
    ),
    max_leaves=12,
)


def canonical(value: Any) -> str:
    """A text that is equal for equal values of equal types at any depth, nan and the sign of zero included."""
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__}{sorted(map(canonical, value))}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}{[canonical(v) for v in value]}"
    if isinstance(value, dict):
        return f"{type(value).__name__}{[(canonical(k), canonical(v)) for k, v in value.items()]}"
    return f"{type(value).__name__} {value!r}"


def same(a: Any, b: Any) -> bool:
    return canonical(a) == canonical(b)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(VALUES)
@example([True] * 9 + [False])
@example(list(range(-5, 20)))
@example([1.5] * 9)
@example((1,) * 8 + (2**40,))
@example("\ud800")
@example([[1, "a"], [2.0, b""]] * 10)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    data = encode(value)
    assert same(decode(data), value)
    assert same(loads(data), value)
    assert same(decode(codec._encode_mixed(value, codec.refuse, 10_000)), value)
    assert b"".join(encode_pieces(value, piece=2)) == data


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(VALUES)
def test_both_writers_write_the_same_bytes(value: Any) -> None:
    if "set" not in canonical(value):  # whose order the slow writer leaves as it is
        assert codec._encode_mixed(value, codec.refuse, 10_000) == encode(value)


class Colour(IntEnum):
    RED = 3


class Liar(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__

    def __pos__(self) -> int:
        return 99

    def __index__(self) -> int:
        return 99


class Text(str):
    def __str__(self) -> str:
        return "lie"


class Endless(list):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        while True:
            yield 0

    def __len__(self) -> int:
        return 1 << 62


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Colour.RED, 3),
        (Liar(7), 7),
        (Text("true"), "true"),
        (Endless([1, 2]), [1, 2]),
        ([Liar(7), {Text("k"): (Liar(1),)}], [7, {"k": (1,)}]),
        (defaultdict(list, {1: [2]}), {1: [2]}),
        (namedtuple("Point", "x y")(1, 2), (1, 2)),
        (type("B", (bytes,), {})(b"ab"), b"ab"),
        (type("F", (float,), {})(-0.0), -0.0),
        (type("S", (set,), {})({1}), {1}),
    ],
)
def test_subclasses_are_sent_as_the_builtin_value_they_hold(value: Any, plain: Any) -> None:
    assert same(decode(encode(value)), plain)


@pytest.mark.parametrize(
    "value",
    [
        Counter("abca"),
        Counter({"a": 0, "b": -1}),
        OrderedDict([(2, 1), (1, 2)]),
        deque([1, [2]]),
        Decimal("1.10"),
        Fraction(-3, 7),
        date(2024, 2, 29),
        datetime(2024, 2, 29, 1, 2, 3, 4),  # noqa: DTZ001
        time(1, 2, 3),
        timedelta(days=-1, microseconds=5),
        range(5, 0, -2),
        bytearray(b"xy"),
        [Counter("a"), (Fraction(1, 2),)],
    ],
)
def test_library_types_cross_as_themselves(value: Any) -> None:
    back = decode(encode(value))
    assert back == value
    assert type(back) is type(value)
    with pytest.raises(CodecError):
        decode(encode(value), plain=True)


def test_iterators_cross_as_iterators_and_endless_ones_do_not() -> None:
    import itertools

    assert list(decode(encode(x * x for x in range(3)))) == [0, 1, 4]
    assert list(decode(encode(map(str, [1, 2])))) == ["1", "2"]
    assert decode(encode({1: 2}.keys())) == {1}
    assert list(decode(encode({1: 2}.items()))) == [(1, 2)]
    assert decode(encode(itertools.count(), lambda value: 5), lambda number: ("handle", number)) == ("handle", 5)


def test_numpy_scalars_are_numbers_and_arrays_are_objects() -> None:
    np = pytest.importorskip("numpy")
    assert same(decode(encode([np.int64(3), np.float64(0.5), np.bool_(True)])), [3, 0.5, True])
    with pytest.raises(CodecError):
        encode(np.zeros(2))


def test_objects_go_through_opaque() -> None:
    thing = object()
    kept: list[Any] = []

    def keep(value: Any) -> int:
        kept.append(value)
        return len(kept) + 40

    data = encode([1, thing, {"k": thing}], keep)
    assert kept == [thing, thing]
    assert decode(data, lambda number: -number) == [1, -41, {"k": -42}]
    with pytest.raises(CodecError):
        decode(data)
    with pytest.raises(CodecError):
        encode([thing])


def nested(depth: int, wrap: Any) -> Any:
    value: Any = wrap(None)
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: (v,), lambda v: {0: v}, lambda v: frozenset([v])])
def test_depth_is_capped_on_both_sides(wrap: Any) -> None:
    with pytest.raises(TooBig):
        encode(nested(200_000, wrap))
    fine = nested(900, wrap) if wrap(0) != frozenset([0]) else nested(100, wrap)
    assert encode(decode(encode(fine))) == encode(fine)
    with pytest.raises(CodecError):
        decode(b"[\1\0\0\0" * 200_000 + b"N")


def test_cycles_are_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(TooBig):
        encode(loop)


def test_a_million_digits_take_no_time() -> None:
    value = 1 << 3_320_000
    assert decode(encode(value)) == value
    assert decode(encode(-value)) == -value


@given(st.binary(max_size=200))
@settings(max_examples=500)
def test_any_bytes_are_a_value_or_a_codec_error(data: bytes) -> None:
    with suppress(CodecError):
        decode(data, lambda number: number)


@given(VALUES, st.data())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_altered_bytes_are_a_value_or_a_codec_error(value: Any, data: Any) -> None:
    raw = bytearray(encode([value, Counter("ab"), Fraction(1, 3)]))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(CodecError):
        decode(bytes(raw), lambda number: number)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[\xff\xff\xff\xff",
        b"(\xff\xff\xff\x7f" + b"N" * 100,
        b"u\xff\xff\xff\xffabc",
        b"s\x00\x00\x00\x80abc",
        b"l\x00\x00\x00\x80",
        b"l\xff\xff\xff\x7f\1\0",
        b"l\2\0\0\0\1\0\0\0",
        b"l\1\0\0\0\xff\xff",
        b"<\1\0\0\0[\0\0\0\0",
        b"{[\0\0\0\0N0",
        b"{N0",
        b"0",
        b"NN",
        b"c\0\0\0\0",
        b"R\0\0\0\0",
        b"X",
        b"Xd",
        b"XdN",
        b"Xr(\3\0\0\0NNN",
        b"XT" + encode("not a date"),
        b"Xf(\2\0\0\0i\1\0\0\0i\0\0\0\0",
        b"X\xffN",
        b"u\2\0\0\0\xff\xff",
    ],
)
def test_malformed_bytes(data: bytes) -> None:
    with pytest.raises(CodecError):
        decode(data)


def test_no_header_makes_it_allocate() -> None:
    hostile = b"[\x00\x00\x00\x40" * 100 + b"{0" * 5000
    tracemalloc.start()
    with pytest.raises(CodecError):
        decode(hostile)
    with pytest.raises(TooBig):
        decode(b"[" + (5_000_000).to_bytes(4, "little") + b"N" * 5_000_000, max_nodes=1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40_000_000


def test_reading_does_not_touch_the_recursion_limit() -> None:
    before = sys.getrecursionlimit()
    decode(encode(nested(990, lambda v: [v])))
    assert sys.getrecursionlimit() == before
