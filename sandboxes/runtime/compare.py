"""When a result counts as its expected value. Pure functions of decoded builtin values; no recursion, no NumPy."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from typing import Any

FLOAT_TOLERANCE = 1e-6
"""Relative or absolute, for floats where the check names no `atol` (contract 3)."""
MAX_UNORDERED = 2000
"""Elements that equality cannot pair in two sets, up to which pairs within tolerance are looked for."""

_NUMBERS = (bool, int, float, complex)
_SEQUENCES = (list, tuple, deque)


def equal(got: Any, expected: Any, atol: float | None = None) -> bool:
    """The rule of contract 3.

    `1 == 1.0 == True` as in Python, a list is no tuple, nan equals nan at any depth, floats within `atol`: absolute if
    it is given, else 1e-6 relative or absolute. Numbers that are no floats are equal exactly.
    """
    pairs: list[tuple[Any, Any]] = [(got, expected)]
    while pairs:
        a, b = pairs.pop()
        kind, other = type(a), type(b)
        if kind in _NUMBERS and other in _NUMBERS:
            if not _close(a, b, atol):
                return False
        elif kind in _SEQUENCES:
            if kind is not other or len(a) != len(b):
                return False
            pairs.extend(zip(a, b))
        elif isinstance(a, dict) and isinstance(b, dict):
            if kind is other is OrderedDict and not _same_keys_in_order(a, b, atol):
                return False
            if not _pair_items(a, b, atol, pairs):
                return False
        elif isinstance(a, (set, frozenset)) and isinstance(b, (set, frozenset)):
            if a != b and not _pair_elements(list(a - b), list(b - a), atol):
                return False
        elif not bool(a == b):
            return False
    return True


def _close(a: Any, b: Any, atol: float | None) -> bool:
    if a == b:
        return True
    if not isinstance(a, (float, complex)) and not isinstance(b, (float, complex)):
        return False
    try:
        if isinstance(a, complex) or isinstance(b, complex):
            a, b = complex(a), complex(b)
            return _close(a.real, b.real, atol) and _close(a.imag, b.imag, atol)
        a, b = float(a), float(b)
    except OverflowError:  # an int that no float holds
        return False
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    if math.isinf(a) or math.isinf(b):
        return bool(a == b)  # float() may have brought them together
    if atol is not None:
        return bool(abs(a - b) <= atol)
    return math.isclose(a, b, rel_tol=FLOAT_TOLERANCE, abs_tol=FLOAT_TOLERANCE)


def _same_keys_in_order(a: Any, b: Any, atol: float | None) -> bool:
    return len(a) == len(b) and all(equal(x, y, atol) for x, y in zip(a, b))


def _pair_items(a: Any, b: Any, atol: float | None, pairs: list[tuple[Any, Any]]) -> bool:
    """Queue the values of equal keys; keys that have no equal one are paired within tolerance."""
    if type(a) is type(b) is Counter:  # a count of zero is an absent key, as in Python
        a, b = ({k: n for k, n in c.items() if n != 0} for c in (a, b))
    if len(a) != len(b):
        return False
    missing = object()
    lone = []
    for key, value in a.items():
        match = b.get(key, missing)
        if match is missing:
            lone.append((key, value))
        else:
            pairs.append((value, match))
    if not lone:
        return True
    others = [(key, value) for key, value in b.items() if key not in a]
    return _pair_elements(lone, others, atol)


def _pair_elements(left: list[Any], right: list[Any], atol: float | None) -> bool:
    """Whether each element of one side has one of its own on the other, within tolerance (greedily)."""
    if len(left) != len(right) or len(left) > MAX_UNORDERED:
        return False
    rest = list(right)
    for item in left:
        for i, other in enumerate(rest):
            if equal(item, other, atol):
                del rest[i]
                break
        else:
            return False
    return True


# -- EvalPlus's rule --------------------------------------------------------------------------------------------------


def evalplus(
    rule: str, got: Any, expected: Any, atol: float, arguments: Any = None, also: tuple[Any, ...] = ()
) -> bool:
    """What EvalPlus 0.3.1 asks of a result, its special oracles included.

    Args:
        rule: `allclose`, `set`, `not_none`, `any` or `root`.
        got: The result.
        expected: The oracle's value.
        atol: The problem's; 0 means exact, but for floats 1e-6.
        arguments: Those of the call, for `root`.
        also: Further values that are as good (its oracles for three MBPP problems).
    """
    try:
        if rule == "root":
            return bool(abs(sum(c * math.pow(got, i) for i, c in enumerate(arguments[0]))) <= atol)
        if rule == "any":
            exact = True
        elif rule == "set":
            exact = set(got) == set(expected)
        elif rule == "not_none" and type(got) is not bool:
            exact = expected == (got is not None)
        else:
            exact = bool(got == expected)
        exact = exact or any(got == other or _near(got, other, atol) for other in also)
        if atol == 0 and _are_floats(expected):
            atol = FLOAT_TOLERANCE
        if exact or atol == 0:
            return exact
        if type(got) is not type(expected) or (isinstance(expected, (list, tuple)) and len(got) != len(expected)):
            return False
        return allclose(got, expected, atol)
    except (TypeError, ValueError, OverflowError, IndexError):
        return False


def _near(a: Any, b: Any, atol: float) -> bool:
    return atol > 0 and isinstance(a, (int, float)) and isinstance(b, (int, float)) and bool(abs(a - b) <= atol)


def _are_floats(value: Any) -> bool:
    if isinstance(value, float):
        return True
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(isinstance(v, float) for v in value)


def allclose(got: Any, expected: Any, atol: float, rtol: float = 1e-7) -> bool:
    """`numpy.allclose` of scalars and nested sequences, broadcasting included. nan equals nothing.

    Raises:
        TypeError: Something is no number (NumPy raises too).
        ValueError: Ragged, or shapes that do not broadcast.
    """
    shape, other = _shape(got), _shape(expected)
    rank = max(len(shape), len(other))
    padded = [(1,) * (rank - len(s)) + s for s in (shape, other)]
    for n, m in zip(*padded):
        if n != m and 1 not in (n, m):
            raise ValueError("shapes do not broadcast")

    def walk(a: Any, b: Any, da: int, db: int) -> bool:
        if da == 0 and db == 0:
            return _within(a, b, atol, rtol)
        if da > db:
            return all(walk(x, b, da - 1, db) for x in a)
        if db > da:
            return all(walk(a, y, da, db - 1) for y in b)
        if len(a) == 1 != len(b):
            return all(walk(a[0], y, da - 1, db - 1) for y in b)
        if len(b) == 1 != len(a):
            return all(walk(x, b[0], da - 1, db - 1) for x in a)
        return all(walk(x, y, da - 1, db - 1) for x, y in zip(a, b))

    return walk(got, expected, len(shape), len(other))


def _shape(value: Any) -> tuple[int, ...]:
    """The shape NumPy would give it; its maximum rank is 32 (64 from version 2)."""
    shape: list[int] = []
    level = [value]
    while True:
        nested = [isinstance(v, (list, tuple)) for v in level]
        if not any(nested):
            break
        lengths = {len(v) for v in level if isinstance(v, (list, tuple))}
        if not all(nested) or len(lengths) > 1 or len(shape) == 32:
            raise ValueError("ragged")
        shape.append(lengths.pop())
        level = [item for v in level for item in v]
        if not level:
            break
    for v in level:
        if type(v) not in _NUMBERS:
            raise TypeError("not a number")
        if shape and type(v) is int and not -(2**63) <= v < 2**64:
            raise TypeError("an int that makes the array one of objects")
    return tuple(shape)


def _within(a: Any, b: Any, atol: float, rtol: float) -> bool:
    if isinstance(a, complex) or isinstance(b, complex):
        finite = all(math.isfinite(p) for v in (complex(a), complex(b)) for p in (v.real, v.imag))
    else:
        a, b = float(a), float(b)
        finite = math.isfinite(a) and math.isfinite(b)
    if not finite:
        return bool(a == b)
    return bool(abs(a - b) <= atol + rtol * abs(b))


def accepts(
    rule: str, got: Any, expected: Any, atol: float | None, arguments: Any = None, also: tuple[Any, ...] = ()
) -> bool:
    """Whether a result is right by the named rule (`sandboxes.check.Comparison`)."""
    if rule == "equal":
        return equal(got, expected, atol) or any(equal(got, other, atol) for other in also)
    return evalplus(rule, got, expected, atol or 0.0, arguments, also)
