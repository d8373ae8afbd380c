"""The two tasks of `cheats.py`, put as a check of each kind that runs code."""

from __future__ import annotations

from typing import Any

from sandboxes.check import CHECK, Check

KINDS = ("calls", "check", "asserts", "unittest", "stdio")
"""Kinds that are judged apart from the candidate."""
SHARED_KINDS = ("unittest", "program")
"""Kinds that are judged beside it, `unittest` where its tests do more than call."""
ARGUMENTS = (3, 5, -2, 0)
TIGHT = {"cpu_s": 0.6, "wall_s": 4, "memory_mb": 192}
"""Enough for any honest answer to a small task, and soon over for those that exhaust something."""


def check_of(kind: str, expected: dict[int, Any], limits: dict[str, float]) -> Check:
    """A check that f(x) is `expected[x]`, of that kind."""
    common: dict[str, Any] = {"kind": kind, "limits": limits}
    pairs = list(expected.items())
    if kind == "calls":
        common |= {"entry_point": "f", "calls": [[x] for x, _ in pairs], "expected": [y for _, y in pairs]}
    elif kind == "check":
        lines = "".join(f"    assert candidate({x!r}) == {y!r}, 'f({x!r})'\n" for x, y in pairs)
        common |= {"entry_point": "f", "test": f"def check(candidate):\n{lines}"}
    elif kind == "asserts":
        common |= {"tests": [f"assert f({x!r}) == {y!r}" for x, y in pairs]}
    elif kind == "unittest":
        common["test"] = _test_case(pairs)
    else:
        common |= {"cases": [{"stdin": f"{x}\n", "stdout": f"{y}\n"} for x, y in pairs]}
    return CHECK.validate_python(common)


def shared_check_of(kind: str, expected: dict[int, Any], limits: dict[str, float]) -> Check:
    """The same of a kind whose tests run beside the candidate."""
    pairs = list(expected.items())
    if kind == "unittest":
        more = "    def test_files(self):\n        self.assertTrue(os.path.isdir('.'))\n"
        test = "import os\n" + _test_case(pairs) + more
        check = CHECK.validate_python({"kind": kind, "test": test, "limits": limits})
    else:
        lines = "".join(f"    assert candidate({x!r}) == {y!r}\n" for x, y in pairs)
        tests = f"def check(candidate):\n{lines}\ncheck(f)\n"
        check = CHECK.validate_python({"kind": kind, "tests": tests, "limits": limits})
    return check


def _test_case(pairs: list[tuple[int, Any]]) -> str:
    method = "    def test_{}(self):\n        self.assertEqual(f({!r}), {!r})\n"
    methods = "".join(method.format(number, x, y) for number, (x, y) in enumerate(pairs))
    return f"import unittest\nclass TestCases(unittest.TestCase):\n{methods}"


def answer_of(kind: str, code: str) -> str:
    """The program as that kind wants it: for `stdio` it reads x and prints f(x)."""
    if kind == "stdio":
        return code + "\nimport sys\nprint(f(int(sys.stdin.readline())))\n"
    return code
