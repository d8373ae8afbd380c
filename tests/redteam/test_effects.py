"""What a call does to its arguments is seen where the test asks for it, and is no way to choose what is expected."""

from __future__ import annotations

import pytest

from sandboxes.check import CHECK
from sandboxes.pool import SandboxPool
from sandboxes.verdict import Outcome
from sandboxes.verify import Verifiers

EMPTIES = "def f(items):\n    items.clear()\n    return []\n"
SORTS_IN_PLACE = "def f(items): items.sort()\n"
SORTS_A_COPY = "def f(items): sorted(items)\n"


def asserts(*tests: str) -> object:
    return CHECK.validate_python({"kind": "asserts", "tests": list(tests)})


def check(test: str) -> object:
    return CHECK.validate_python({"kind": "check", "entry_point": "f", "test": test})


IN_PLACE = (
    asserts("items = [3, 1, 2]\nf(items)\nassert items == [1, 2, 3]"),
    check("def check(candidate):\n    items = [3, 1, 2]\n    candidate(items)\n    assert items == [1, 2, 3]\n"),
)
BY_RESULT = (
    asserts("items = [3, 1, 2]\nassert f(items) == sorted(items)"),
    asserts("items = [3, 1, 2]\nout = f(items)\nassert out == sorted(items)"),
    check("def check(candidate):\n    items = [3, 1, 2]\n    assert candidate(items) == sorted(items)\n"),
    check(
        "def same(a, b):\n    assert a == b\n"
        "def check(candidate):\n    items = [3, 1, 2]\n    same(candidate(items), sorted(items))\n"
    ),
)


@pytest.mark.parametrize("wanted", IN_PLACE)
async def test_in_place_work_is_seen(sandbox: SandboxPool, wanted: object) -> None:
    verifiers = Verifiers(sandbox=sandbox)
    assert (await verifiers.verify(wanted, SORTS_IN_PLACE)).passed
    assert (await verifiers.verify(wanted, SORTS_A_COPY)).outcome is Outcome.FAILED
    assert (await verifiers.verify(wanted, EMPTIES)).outcome is Outcome.FAILED


@pytest.mark.parametrize("wanted", BY_RESULT)
async def test_changed_arguments_do_not_change_what_is_expected(sandbox: SandboxPool, wanted: object) -> None:
    verifiers = Verifiers(sandbox=sandbox)
    assert (await verifiers.verify(wanted, EMPTIES)).outcome is Outcome.FAILED
    assert (await verifiers.verify(wanted, "def f(items): return sorted(items)\n")).passed
