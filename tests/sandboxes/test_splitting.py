"""Which `unittest` tests are judged apart from the candidate: those that only call, and in doubt none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.splitting import candidate_names, shared_because

PLAIN = st.recursive(
    # `inf` and `nan` are no literals: in a test's text they are names.
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


def case(body: str, imports: str = "") -> str:
    lines = "".join(f"        {line}\n" for line in body.splitlines())
    return f"import unittest\n{imports}\nclass T(unittest.TestCase):\n    def test_a(self):\n{lines}"


@pytest.mark.parametrize(
    "test",
    [
        case("self.assertEqual(f(1), 2)"),
        case("for n in range(3):\n    with self.subTest(n=n):\n        self.assertEqual(f(n), n + 1)"),
        case("self.assertRaises(ValueError, f, 'x')"),
        case("with self.assertRaises((TypeError, KeyError)) as e:\n    f()\nself.assertIn('a', str(e.exception))"),
        case("self.assertTrue(f('a').startswith('b'))"),
        case("self.assertEqual(json.loads(f({'a': 1})), {'a': 1})", "import json"),
        case("self.assertAlmostEqual(f(2), math.sqrt(2), places=3)", "import math"),
        case("self.assertIsNone(f(datetime(2020, 1, 1)))", "from datetime import datetime"),
        case("result = f([3, 1])\nself.assertIsInstance(result, list)\nself.assertEqual(len(result), 2)"),
    ],
)
def test_what_only_calls_is_split(test: str) -> None:
    assert shared_because(test) is None
    assert candidate_names(test) == {"f"}


@pytest.mark.parametrize(
    ("test", "family"),
    [
        (case("with patch('builtins.open'): f(1)", "from unittest.mock import patch"), "patches"),
        (case("self.assertEqual(f(1).shape, (1,))", "import numpy as np\nx = np"), "has values of a library"),
        (case("open('x')\nf(1)"), "shares files, streams or global state"),
        (case("os.getcwd()\nf(1)", "import os"), "shares files, streams or global state"),
        (case("random.seed(1)\nself.assertEqual(f(1), 2)", "import random"), "shares files, streams or global state"),
        (case("with self.assertLogs(): f(1)"), "shares files, streams or global state"),
        (case("f.__doc__"), "looks into the candidate"),
        (case("g = f\ng(1)"), "looks into the candidate"),
        (case("self.assertEqual(f(1), LIMIT)"), "looks into the candidate"),
        (case("self.assertIs(f(1), f(1))"), "looks into the candidate"),
        (case("self.assertEqual(f(1).total, 3)"), "asks a result for what plain values have not"),
        (case("self.assertRaises(Odd, f, 1)", "class Odd(Exception): pass"), "expects an exception that is no builtin"),
        (case("f(lambda x: x)"), "passes what cannot cross"),
        (case("f(n for n in range(3))"), "passes what cannot cross"),
        (case("f(math)", "import math"), "passes what cannot cross"),
        (case("self.assertEqual(1, 1)"), "looks into the candidate"),
    ],
)
def test_what_does_more_is_shared(test: str, family: str) -> None:
    reason = shared_because(test)
    assert reason is not None
    assert reason.family == family


@given(PLAIN, PLAIN)
def test_any_plain_values_can_cross(argument: object, result: object) -> None:
    assert shared_because(case(f"self.assertEqual(f({argument!r}), {result!r})")) is None


@given(st.sampled_from(["os", "sys", "io", "subprocess", "pandas", "threading", "socket", "builtins", "gc", "ctypes"]))
def test_a_module_that_touches_the_process_never_lets_it_split(module: str) -> None:
    assert shared_because(case(f"{module}.anything()\nself.assertEqual(f(1), 2)", f"import {module}")) is not None
