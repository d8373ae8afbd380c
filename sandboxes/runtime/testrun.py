"""Runs the tests of `unittest.TestCase`s one by one, each to its last line or to an exception, keeping no result.

The rules are unittest's, but that a test which is skipped or expected to fail does not pass.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from typing import Any

__builtins__ = dict(vars(builtins))  # type: ignore[assignment]  # ours alone: a candidate may replace names

Test = tuple[str, Callable[[], object]]
"""Its name, and what runs it: to the end, if it passes."""
Case = tuple[Any, tuple[str, ...], list[Any]]
"""A class, the names of its tests, their functions."""


def classes(space: dict[str, Any], cases: tuple[tuple[str, tuple[str, ...]], ...]) -> list[Case]:
    """Find the counted tests in the module that defines them.

    Raises:
        KeyError, AttributeError: One is not there.
    """
    found = [(space[name], methods) for name, methods in cases]
    return [(cls, methods, [getattr(cls, method) for method in methods]) for cls, methods in found]


def raiser(error: BaseException) -> Callable[[], object]:
    """A test that fails so."""

    def fail() -> object:
        raise error

    return fail


def fixtured(space: dict[str, Any], found: list[Case]) -> Iterator[Test]:
    """Each test, with what stands around it: the fixtures of modules and classes are the first and last test's."""
    before: list[Callable[[], object]] = [space["setUpModule"]] if "setUpModule" in space else []
    for number, (cls, methods, bodies) in enumerate(found):
        before.append(cls.setUpClass)
        last_class = number == len(found) - 1
        for at, (method, body) in enumerate(zip(methods, bodies)):
            after: list[Callable[[], object]] = []
            if at == len(methods) - 1:
                after = [cls.tearDownClass, cls.doClassCleanups]
                if last_class and "tearDownModule" in space:
                    after.append(space["tearDownModule"])
            # What has not been set up stays to be done, and fails the next test too.
            yield f"{cls.__name__}.{method}", _one(cls, method, body, before, after)


def _one(
    cls: Any, method: str, body: Any, before: list[Callable[[], object]], after: list[Callable[[], object]]
) -> Callable[[], object]:
    def run() -> None:
        if getattr(cls, "__unittest_skip__", False) or getattr(cls, "__unittest_expecting_failure__", False):
            raise AssertionError("skipped or expected to fail")
        while before:
            before[0]()
            del before[0]
        try:
            case = cls(method)
            if getattr(body, "__unittest_expecting_failure__", False):
                raise AssertionError("expected to fail")
            ready = getattr(case, "_setupAsyncioRunner", None)
            if ready is not None:
                ready()
            try:
                case._callSetUp()
                try:
                    case._callTestMethod(body.__get__(case))
                finally:
                    case._callTearDown()
            finally:
                clean = case.doCleanups()
                if ready is not None:
                    case._tearDownAsyncioRunner()
            if not clean:
                raise AssertionError("a cleanup failed")
        finally:
            for step in after:
                step()

    return run
