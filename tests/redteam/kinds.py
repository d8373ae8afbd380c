"""The two tasks of `cheats.py`, put as a check of each kind that runs code."""

from __future__ import annotations

from typing import Any

from sandboxes.check import CHECK, Check

KINDS = ("calls", "check", "asserts", "stdio")
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
    else:
        common |= {"cases": [{"stdin": f"{x}\n", "stdout": f"{y}\n"} for x, y in pairs]}
    return CHECK.validate_python(common)


def answer_of(kind: str, code: str) -> str:
    """The program as that kind wants it: for `stdio` it reads x and prints f(x)."""
    if kind == "stdio":
        return code + "\nimport sys\nprint(f(int(sys.stdin.readline())))\n"
    return code
