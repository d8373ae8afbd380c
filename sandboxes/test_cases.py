"""What a `unittest` test holds, read from its text: the trusted count that no run can talk us out of."""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import TypeAlias

Cases: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]
"""Class names with their test methods, in the order in which unittest runs them."""

_BASES = frozenset({"TestCase", "IsolatedAsyncioTestCase"})


def parsed(source: str) -> ast.Module:
    """The tree of a data set's code.

    Raises:
        ValueError: It is no Python; names the line.
    """
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise ValueError(f"no valid Python: {error.msg} (line {error.lineno})") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"no valid Python: {str(error) or type(error).__name__}") from None


@lru_cache(maxsize=2048)
def discover(test: str) -> Cases:
    """The test cases that stand in the text. Methods made while it runs are not seen, and so never counted.

    Raises:
        ValueError: It is no Python, or has no `unittest.TestCase` with a test method.
    """
    classes = {node.name: node for node in parsed(test).body if isinstance(node, ast.ClassDef)}
    found = [(name, tuple(sorted(_methods(name, classes)))) for name in sorted(classes) if _is_case(name, classes)]
    cases = tuple((name, methods) for name, methods in found if methods)
    if not cases:
        raise ValueError("defines no unittest.TestCase with a test method")
    return cases


def methods_of(cases: Cases) -> list[str]:
    """`Class.method` of each test, in order."""
    return [f"{name}.{method}" for name, methods in cases for method in methods]


def _bases(node: ast.ClassDef) -> list[str]:
    names = []
    for base in node.bases:
        if isinstance(base, ast.Attribute):
            names.append(base.attr)
        elif isinstance(base, ast.Name):
            names.append(base.id)
    return names


def _is_case(name: str, classes: dict[str, ast.ClassDef], seen: frozenset[str] = frozenset()) -> bool:
    if name not in classes or name in seen:
        return False
    return any(b in _BASES or _is_case(b, classes, seen | {name}) for b in _bases(classes[name]))


def _methods(name: str, classes: dict[str, ast.ClassDef], seen: frozenset[str] = frozenset()) -> set[str]:
    if name not in classes or name in seen:
        return set()
    node = classes[name]
    inherited = set().union(*(_methods(base, classes, seen | {name}) for base in _bases(node)))
    own = {
        item.name
        for item in node.body
        if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)) and item.name.startswith("test")
    }
    return inherited | own


def runs_unittest(tests: str) -> bool:
    """Whether a program leaves it to `unittest.main` to run its tests."""
    calls = (node.func for node in ast.walk(parsed(tests)) if isinstance(node, ast.Call))
    return any(
        isinstance(f, ast.Attribute) and f.attr == "main" and isinstance(f.value, ast.Name) and f.value.id == "unittest"
        for f in calls
    )
