"""Kinds `unittest` and `program` on both engines, tests apart from the candidate and beside it."""

from __future__ import annotations

import asyncio

import pytest

from sandboxes.check import CHECK
from sandboxes.verdict import Outcome, Verdict
from sandboxes.verify import Verifiers

ADD = "def f(x): return x + 1\n"
BESIDE = "import os\nassert os.getcwd()\n"
"""What makes tests share the candidate's process."""


async def judge(verifiers: Verifiers, code: str, test: str, **limits: float) -> Verdict:
    check = CHECK.validate_python({"kind": "unittest", "test": test, "limits": {"cpu_s": 3, **limits}})
    return await verifiers.verify(check, code)


def suite(body: str, beside: bool) -> str:
    return f"import unittest\n{BESIDE if beside else ''}class T(unittest.TestCase):\n{body}"


TWO = "    def test_a(self): self.assertEqual(f(1), 2)\n    def test_b(self): self.assertEqual(f(2), {})\n"
SET_UP = "    def setUp(self): self.x = 1\n    def test_a(self): self.assertEqual(f(self.x), 2)\n"
BODIES = {
    "passes": (TWO.format(3), Outcome.PASSED, (2, 2)),
    "fails_in_part": (TWO.format(4), Outcome.FAILED, (1, 2)),
    "skips": ("    @unittest.skip('no')\n" + TWO.format(3), None, (1, 2)),
    "skips_within": (
        TWO.format(3) + "    def test_c(self):\n        f(1)\n        self.skipTest('no')\n",
        None,
        (2, 3),
    ),
    "expected_failure": ("    @unittest.expectedFailure\n" + TWO.format(3), None, (1, 2)),
    "sub_tests": (
        "    def test_a(self):\n        for n in (1, 2):\n            with self.subTest(): self.assertEqual(f(n), 2)\n",
        Outcome.FAILED,
        (0, 1),
    ),
    "set_up": (SET_UP, Outcome.PASSED, (1, 1)),
    "set_up_fails": ("    def setUp(self): raise ValueError('no')\n" + TWO.format(3), None, (0, 2)),
    "class_set_up": ("    @classmethod\n    def setUpClass(cls): cls.x = 1\n" + SET_UP, Outcome.PASSED, (1, 1)),
    "class_set_up_fails": ("    @classmethod\n    def setUpClass(cls): 1 / 0\n" + TWO.format(3), None, (0, 2)),
    "tear_down_fails": ("    def tearDown(self): 1 / 0\n" + TWO.format(3), None, (0, 2)),
    "class_tear_down_fails": ("    @classmethod\n    def tearDownClass(cls): 1 / 0\n" + TWO.format(3), None, (1, 2)),
    "raises": ("    def test_a(self): self.assertRaises(TypeError, f, None)\n", Outcome.PASSED, (1, 1)),
}


@pytest.mark.parametrize("beside", [False, True], ids=["apart", "beside"])
async def test_what_becomes_of_tests(verifiers: Verifiers, beside: bool) -> None:
    verdicts = await asyncio.gather(*(judge(verifiers, ADD, suite(body, beside)) for body, _, _ in BODIES.values()))
    for (name, (_, outcome, counts)), verdict in zip(BODIES.items(), verdicts, strict=True):
        shown = (name, verdict.outcome, verdict.message, verdict.tests_passed, verdict.tests_total)
        assert (verdict.tests_passed, verdict.tests_total) == counts, shown
        assert verdict.score == pytest.approx(counts[0] / counts[1]), shown
        assert verdict.passed is (counts[0] == counts[1]), shown
        assert outcome in (None, verdict.outcome), shown
        assert verdict.outcome is not Outcome.INFRA_ERROR, shown
        assert verdict.isolation == ("shared" if beside else "split"), shown


@pytest.mark.parametrize("beside", [False, True], ids=["apart", "beside"])
async def test_whose_fault_it_is(verifiers: Verifiers, beside: bool) -> None:
    test = suite(TWO.format(3), beside)
    spin = "def f(x):\n    while True: pass\n"
    hoard = "def f(x): return len([0] * 10 ** 9)\n"
    assert (await judge(verifiers, spin, test, cpu_s=0.5)).outcome is Outcome.TIMEOUT
    assert (await judge(verifiers, hoard, test, memory_mb=256)).outcome in (
        Outcome.OUT_OF_MEMORY,
        Outcome.RUNTIME_ERROR,
    )
    assert (await judge(verifiers, "def f(x:\n", test)).outcome is Outcome.COMPILE_ERROR
    assert not (await judge(verifiers, "def g(x): return x\n", test)).passed
    second = "n = 0\ndef f(x):\n    global n\n    n += 1\n    if n > 1:\n        while True: pass\n    return x + 1\n"
    late = await judge(verifiers, second, test, cpu_s=0.5)
    assert (late.outcome, late.passed) == (Outcome.TIMEOUT, False)


async def test_a_library_that_is_not_here_is_nobodys_wrong_answer(verifiers: Verifiers) -> None:
    verdict = await judge(verifiers, ADD, "import no_such_library\n" + suite(TWO.format(3), True))
    assert verdict.outcome is Outcome.INFRA_ERROR
    assert "no_such_library" in verdict.message


@pytest.mark.parametrize(
    ("code", "tests", "outcome"),
    [
        (ADD, "assert f(1) == 2", Outcome.PASSED),
        (ADD, "assert f(1) == 3", Outcome.FAILED),
        (ADD, "import unittest\n" + suite(TWO.format(3), False) + "unittest.main()", Outcome.PASSED),
        (ADD, "import unittest\n" + suite(TWO.format(4), False) + "unittest.main()", Outcome.FAILED),
        ("def f(x): return 1 / 0", "assert f(1) == 2", Outcome.RUNTIME_ERROR),
        ("def f(x", "assert f(1) == 2", Outcome.COMPILE_ERROR),
        ("def f(x):\n    while True: pass", "assert f(1) == 2", Outcome.TIMEOUT),
        ("import sys\nsys.exit(0)", "assert f(1) == 2", None),
    ],
)
async def test_a_program_passes_or_does_not(
    verifiers: Verifiers, code: str, tests: str, outcome: Outcome | None
) -> None:
    check = CHECK.validate_python({"kind": "program", "tests": tests, "limits": {"cpu_s": 1, "wall_s": 20}})
    verdict = await verifiers.verify(check, code)
    assert outcome in (None, verdict.outcome), verdict
    assert verdict.passed is (outcome is Outcome.PASSED)
    assert (verdict.tests_passed, verdict.tests_total, verdict.isolation) == (int(bool(verdict.passed)), 1, "shared")
