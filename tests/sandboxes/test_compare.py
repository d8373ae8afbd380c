"""The contract's rule, and EvalPlus's against NumPy itself."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from sandboxes.runtime.compare import accepts, allclose, equal, evalplus

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, 1.0),
        (True, 1),
        ([1, True], [True, 1.0]),
        (NAN, NAN),
        ([(NAN,)], [(NAN,)]),
        ({"a": NAN}, {"a": NAN}),
        ({NAN}, {float("nan")}),
        ({NAN: 1}, {float("nan"): 1}),
        (1.0, 1.0 + 1e-7),
        (1e12, 1e12 + 1e5),
        ([0.1 + 0.2], [0.3]),
        ({1: 0.1 + 0.2}, {1: 0.3}),
        ({0.1 + 0.2}, {0.3}),
        ({(0.1 + 0.2, "a"), 5}, {(0.3, "a"), 5}),
        ({0.1 + 0.2: "x"}, {0.3: "x"}),
        (1 + 1e-9j, 1),
        (2, 2.0000001),
        (INF, INF),
        ({1: 2, 3: 4}, {3: 4, 1: 2}),
        (Counter("aab"), {"a": 2, "b": 1}),
        (Counter({"a": 1, "b": 0}), Counter({"a": 1})),
        ({1, 2}, frozenset({2, 1})),
        (deque([1]), deque([1])),
        (10**400, 10**400),
        ("\ud800", "\ud800"),
    ],
)
def test_equal(a: Any, b: Any) -> None:
    assert equal(a, b)
    assert equal(b, a)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([1], (1,)),
        (1, "1"),
        (1, 2),
        (0, None),
        (False, None),
        ([], ()),
        (1.0, 1.001),
        (10**20, 10**20 + 1),
        (10**400, 1.0),
        (10**400, INF),
        (INF, -INF),
        (NAN, 0.0),
        ([1, 2], [1]),
        ({1: 2}, {1: 3}),
        ({1: 2}, {2: 2}),
        ({1}, {2}),
        ({1}, [1]),
        (b"a", "a"),
        (OrderedDict([(1, 1), (2, 2)]), OrderedDict([(2, 2), (1, 1)])),
        (deque([1]), [1]),
        ("a", "b"),
    ],
)
def test_not_equal(a: Any, b: Any) -> None:
    assert not equal(a, b)
    assert not equal(b, a)


def test_atol_takes_the_place_of_the_default() -> None:
    assert equal(1.05, 1.0, atol=0.1)
    assert not equal(1.0 + 1e-7, 1.0, atol=0)
    assert not equal(1e12 + 1e5, 1e12, atol=0.1)
    assert equal(1, 1.05, atol=0.1)
    assert not equal(1, 2, atol=5), "numbers that are no floats are exact"


def test_depth_needs_no_recursion() -> None:
    a: Any = 1.0
    b: Any = 1
    for _ in range(100_000):
        a, b = [a], [b]
    assert equal(a, b)
    while isinstance(a, list):
        a, b = a[0], b[0]


NUMBER = (
    st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(width=32)
    | st.sampled_from([0.0, 1.0, 1.0 + 1e-7, NAN, INF])
)
ARRAY = st.recursive(
    NUMBER, lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple), max_leaves=6
)
ODD = st.none() | st.text(max_size=2) | st.complex_numbers(max_magnitude=10) | st.just(2**70) | st.just({})


def numpy_allclose(a: Any, b: Any, atol: float) -> bool:
    try:
        with np.errstate(all="ignore"):
            return bool(np.allclose(a, b, rtol=1e-7, atol=atol))
    except (TypeError, ValueError, OverflowError):
        return False


def our_allclose(a: Any, b: Any, atol: float) -> bool:
    try:
        return allclose(a, b, atol)
    except (TypeError, ValueError, OverflowError):
        return False


@given(ARRAY | ODD, ARRAY | ODD, st.sampled_from([0.0, 1e-6, 0.5]))
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_allclose_is_numpys(a: Any, b: Any, atol: float) -> None:
    assume(type(a) is type(b) and (not isinstance(a, (list, tuple)) or len(a) == len(b)))  # as EvalPlus asks first
    assert our_allclose(a, b, atol) == numpy_allclose(a, b, atol)


@given(ARRAY, st.floats(-1e-6, 1e-6))
def test_allclose_near_the_edge(a: Any, delta: float) -> None:
    def shifted(value: Any) -> Any:
        return type(value)(map(shifted, value)) if isinstance(value, (list, tuple)) else float(value) + delta

    assert our_allclose(a, shifted(a), 1e-6) == numpy_allclose(a, shifted(a), 1e-6)


@pytest.mark.parametrize(
    ("rule", "got", "expected", "atol", "right"),
    [
        ("allclose", 1, 1.0, 0, True),
        ("allclose", 1, 1.0000001, 0, False),  # another type
        ("allclose", 1.0, 1.0000001, 0, True),
        ("allclose", [1.0], [1.0000001], 0, True),
        ("allclose", [1.0], (1.0,), 0, False),
        ("allclose", [1.0, 2], [1.0000001, 2], 0, False),  # not all floats: exact
        ("allclose", [1.0, 2], [1.0000001, 2], 1e-6, True),
        ("allclose", [1.0, 1.0], [1.0], 0, False),
        ("allclose", "a", "a", 0, True),
        ("allclose", "a", "b", 1e-6, False),
        ("allclose", {"a": 1.0}, {"a": 1.0000001}, 1e-6, False),
        ("allclose", NAN, NAN, 0, False),
        ("set", [1, 2, 2], (2, 1), 0, True),
        ("set", [1, [2]], [1], 0, False),
        ("set", 5, [5], 0, False),
        ("not_none", "x", True, 0, True),
        ("not_none", None, False, 0, True),
        ("not_none", None, True, 0, False),
        ("not_none", True, False, 0, False),
        ("any", "whatever", 3, 0, True),
    ],
)
def test_evalplus_rules(rule: str, got: Any, expected: Any, atol: float, right: bool) -> None:
    assert accepts(rule, got, expected, atol) is right


def test_root() -> None:
    assert evalplus("root", -0.5, None, 1e-4, [[1, 2]])
    assert not evalplus("root", 0.5, None, 1e-4, [[1, 2]])
    assert not evalplus("root", -1000.0, None, 1e-4, [[1, 2]]), "far below zero is no root"
    for hostile in (NAN, INF, None, "x", 1j, 10**400, []):
        assert not evalplus("root", hostile, None, 1e-4, [[1, 2]])


def test_further_right_values() -> None:
    assert accepts("allclose", 0, 7, 0, also=(0,))
    assert accepts("allclose", 7, 7, 0, also=(0,))
    assert not accepts("allclose", 1, 7, 0, also=(0,))
    assert accepts("equal", [3], [4], None, also=([3],))
