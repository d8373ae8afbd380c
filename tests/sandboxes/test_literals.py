"""`calls_py` and `expected_py`: Python literals with a few names, never evaluated."""

from __future__ import annotations

import ast
import math
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.literals import LiteralError, parse_list

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.lists(PLAIN))
def test_what_repr_writes_is_read(values: list[Any]) -> None:
    assert parse_list(repr(values), "f") == values == ast.literal_eval(repr(values))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[inf, -inf, +1, -2.5]", [math.inf, -math.inf, 1, -2.5]),
        ("[set(), frozenset(), frozenset({1, 2}), set([1]), {1}]", [set(), frozenset(), frozenset({1, 2}), {1}, {1}]),
        ("[1+2j, -1-2j, 2j, 0x10, 1_000, 'a' 'b']", [1 + 2j, -1 - 2j, 2j, 16, 1000, "ab"]),
        ("\n  [\n 1,\n]\n", [1]),
        ("[1" + "0" * 6000 + "]", [10**6000]),
        ("[" * 100 + "]" * 100, None),
    ],
)
def test_forms(text: str, value: Any) -> None:
    parsed = parse_list(text, "f")
    assert value is None or parsed == value


def test_nan_is_a_nan() -> None:
    assert all(math.isnan(v) for v in parse_list("[nan, -nan]", "f"))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "not a Python literal"),
        ("[1, 2", "not a Python literal"),
        ("(1, 2)", "list is wanted"),
        ("[x]", "Name 'x'"),
        ("[...]", "Constant"),
        ("[__import__('os')]", "Call"),
        ("[set(1)]", "Call"),
        ("[set(key=1)]", "Call"),
        ("[1 + 2]", "BinOp"),
        ("[2 ** 10000000]", "BinOp"),
        ("[-'a']", "UnaryOp"),
        ("[True + 1j]", "BinOp"),
        ("[{**{}}]", "Dict"),
        ("[*[1]]", "Starred"),
        ("[{[]: 1}]", "unhashable"),
        ("[f'{1}']", "JoinedStr"),
        ("[lambda: 1]", "Lambda"),
        ("[1 for x in []]", "ListComp"),
        ("[0\0]", "f:"),
        ("[" * 199 + "]" * 199, "f:"),
        ("[" * 200_000 + "]" * 200_000, "f:"),
        ("[" + "-" * 200_000 + "1]", "f:"),
    ],
)
def test_everything_else_is_one_line_with_the_field(text: str, part: str) -> None:
    with pytest.raises(LiteralError) as caught:
        parse_list(text, "f")
    assert part in str(caught.value)
    assert str(caught.value).startswith("f: ")
    assert len(str(caught.value)) < 300


def test_the_digits_limit_stays_as_it_was() -> None:
    before = sys.get_int_max_str_digits()
    parse_list("[1" + "0" * 9000 + "]", "f")
    assert sys.get_int_max_str_digits() == before
