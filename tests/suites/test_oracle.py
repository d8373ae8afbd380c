"""Expected values: computed in the arena, kept in the cache, never believed when altered; and the suites over them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandboxes.check import CallsCheck, Limits
from sandboxes.errors import SandboxError
from sandboxes.pool import SandboxPool
from sandboxes.prepared import unpack_b64
from sandboxes.runtime.codec import encode
from sandboxes.runtime.extras import Digest
from sandboxes.sandbox import Sandbox
from sandboxes.verify import Verifiers
from suites import registry
from suites.code import oracle
from suites.code.evalplus import EvalPlusSuite, Task
from suites.code.humaneval_plus import HumanEvalPlus
from suites.code.mbpp_plus import MbppPlus
from suites.code.oracle import LONG, Expected, Oracle
from suites.validate import validate

LIMITS = Limits(cpu_s=10)
NO_SANDBOX: Sandbox = None  # type: ignore[assignment]
PROGRAM = "def f(n, c):\n    return [c * n, (n, float(n)), {n: {c}}]\n"
CALLS = [[1, "a"], [3, "b"]]


def results(expected: Expected) -> list[object]:
    return unpack_b64(expected.results, "results")


async def test_results_are_computed_once(pool: SandboxPool, cache: Path) -> None:
    expected = await Oracle(pool).expected(PROGRAM, "f", CALLS, LIMITS)
    assert unpack_b64(expected.calls, "calls") == CALLS
    assert results(expected) == [["a", (1, 1.0), {1: {"a"}}], ["bbb", (3, 3.0), {3: {"b"}}]]
    assert await Oracle(NO_SANDBOX).expected(PROGRAM, "f", CALLS, LIMITS) == expected
    (entry,) = (path for path in cache.rglob("*") if path.is_file())
    entry.write_bytes(entry.read_bytes()[:-1] + b"?")
    assert await Oracle(pool).expected(PROGRAM, "f", CALLS, LIMITS) == expected


async def test_other_programs_and_other_inputs_are_other_entries(pool: SandboxPool, cache: Path) -> None:
    oracle = Oracle(pool)
    first = await oracle.expected(PROGRAM, "f", CALLS, LIMITS)
    assert results(await oracle.expected(PROGRAM.replace("c * n", "n"), "f", CALLS, LIMITS)) != results(first)
    assert results(await oracle.expected(PROGRAM, "f", CALLS[:1], LIMITS)) == results(first)[:1]
    assert len([path for path in cache.rglob("*") if path.is_file()]) == 3


async def test_long_results_are_kept_by_their_digest_where_that_is_exact(pool: SandboxPool, cache: Path) -> None:
    program = f"def f(n):\n    return ['x' * {LONG}, 1 << {16 * LONG}, list(range({LONG})), 'x' * 5000][n]\n"
    found = results(await Oracle(pool).expected(program, "f", [[0], [1], [2], [3]], LIMITS))
    assert isinstance(found[0], Digest)
    assert isinstance(found[1], Digest)
    assert found[0].length > LONG
    assert found[2:] == [list(range(LONG)), "x" * 5000]


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("def f(n):\n    return 1 // 0", "ZeroDivisionError"),
        ("def f(n):\n    return object()", "gave no plain value"),
        ("def g(n):\n    return 1", "cannot be loaded"),
        ("def f(n)\n", "cannot be loaded"),
        ("import os\ndef f(n):\n    os._exit(3)", "did not end by itself"),
    ],
)
async def test_a_solution_that_gives_no_value_is_an_error_not_an_expected_value(
    pool: SandboxPool, cache: Path, program: str, said: str
) -> None:
    with pytest.raises(SandboxError, match=said):
        await Oracle(pool).expected(program, "f", [[1]], LIMITS)
    assert not [path for path in cache.rglob("*") if path.is_file()]


async def test_a_cache_that_cannot_be_written_costs_only_time(pool: SandboxPool, cache: Path) -> None:
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file in the way")
    assert results(await Oracle(pool).expected(PROGRAM, "f", CALLS, LIMITS))


HUMANEVAL = {"HumanEval/0", "HumanEval/2", "HumanEval/32", "HumanEval/38", "HumanEval/50", "HumanEval/53"}
MBPP = {f"Mbpp/{n}" for n in (2, 106, 124, 252, 259, 278, 558, 581, 722, 737, 791)}
"""Every rule and every shape of inputs, in tasks that are quick; Mbpp/737 is only asked for a match."""


class SomeHumanEval(HumanEvalPlus):
    def tasks(self) -> Iterator[Task]:
        return (task for task in super().tasks() if task.id in HUMANEVAL)


class SomeMbpp(MbppPlus):
    def tasks(self) -> Iterator[Task]:
        return (task for task in super().tasks() if task.id in MBPP)


@pytest.mark.usefixtures("data_dir")
@pytest.mark.parametrize("suite", [SomeHumanEval(), SomeMbpp(), SomeMbpp("base")], ids=lambda suite: suite.full_name)
async def test_gold_of_evalplus_passes_and_nothing_does_not(
    pool: SandboxPool, cache: Path, suite: EvalPlusSuite
) -> None:
    async with Verifiers(sandbox=pool) as verifiers:
        result = await validate(suite, pool, verifiers.verify)
    assert result.findings == []
    assert result.gold_passed == result.problems == len(HUMANEVAL if isinstance(suite, SomeHumanEval) else MBPP)
    assert result.empty_passed == 0


@pytest.mark.usefixtures("data_dir")
async def test_base_and_plus_are_told_apart(pool: SandboxPool, cache: Path) -> None:
    """HumanEval/0 by comparing neighbours only: right on all of HumanEval's inputs but not on EvalPlus's."""
    suite = SomeHumanEval()
    (problem,) = await suite.prepare(pool, wanted={"HumanEval/0"})
    wrong = "def has_close_elements(numbers, t):\n    return any(abs(a - b) < t for i, a in enumerate(numbers[:9]) "
    wrong += "for b in numbers[:i])\n"
    async with Verifiers(sandbox=pool) as verifiers:
        verdict = await verifiers.verify(problem.check, wrong)
    assert verdict.passed is False
    assert verdict.parts["base"] == 1.0
    assert verdict.tests_total == problem.metadata["calls"]


@pytest.mark.usefixtures("data_dir")
async def test_the_second_readings_are_credited(pool: SandboxPool, cache: Path) -> None:
    problems = {problem.id: problem for problem in await SomeMbpp().prepare(pool)}
    programs = {
        "Mbpp/558": "def digit_distance_nums(a, b):\n    a, b = str(a), str(b)\n    n = max(len(a), len(b))\n"
        "    return sum(abs(int(x) - int(y)) for x, y in zip(a.zfill(n), b.zfill(n)))\n",
        "Mbpp/581": "def surface_Area(b, h):\n    return round(b**2 + 2 * b * ((b / 2) ** 2 + h**2) ** 0.5)\n",
    }
    async with Verifiers(sandbox=pool) as verifiers:
        for identifier, program in programs.items():
            assert (await verifiers.verify(problems[identifier].check, program)).passed, identifier
            wrong = program.replace("return ", "return 1 + ")
            assert not (await verifiers.verify(problems[identifier].check, wrong)).passed, identifier


@pytest.mark.usefixtures("data_dir")
async def test_checks_that_are_not_prepared_pass_nothing(pool: SandboxPool) -> None:
    problem = registry.get("humaneval_plus").problems()[0]
    assert isinstance(problem.check, CallsCheck)
    suite = registry.get("humaneval_plus")
    async with Verifiers(sandbox=pool) as verifiers:
        verdict = await verifiers.verify(problem.check, suite.answer(problem, problem.gold or ""))
    assert verdict.passed is None


async def test_generated_code_passes_its_own_checks(pool: SandboxPool) -> None:
    async with Verifiers(sandbox=pool) as verifiers:
        result = await validate(registry.get("quick_code"), pool, verifiers.verify)
    assert (result.gold_passed, result.empty_passed, result.findings) == (40, 0, [])


async def test_a_solution_over_its_wall_limit_is_run_again(
    pool: SandboxPool, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is known to end: a machine that stood still is not what a data set is."""
    ran, real, walls = 0, Oracle._run, list[float]()

    async def still_at_first(self: Oracle, *given: Any) -> bytes:
        nonlocal ran
        ran += 1
        walls.append(given[-1].wall_s)
        if ran < 3:
            raise oracle._Overran("over its wall limit")
        return await real(self, *given)

    monkeypatch.setattr(Oracle, "_run", still_at_first)
    assert results(await Oracle(pool).expected("def f(n):\n    return n\n", "f", [[1]], LIMITS)) == [1]
    assert ran == 3 and walls == [60.0, 240.0, 960.0]
    ran = -3
    with pytest.raises(SandboxError, match="over its wall limit"):
        await Oracle(pool).expected("def f(n):\n    return -n\n", "f", [[1]], LIMITS)
    assert ran == 0


async def test_a_solution_that_waits_for_ever_is_over_its_wall_limit(pool: SandboxPool, cache: Path) -> None:
    with pytest.raises(oracle._Overran):
        await Oracle(pool)._run(
            "import time\ndef f(n):\n    time.sleep(60)\n", "f", [encode([1])], Limits(cpu_s=1, wall_s=6)
        )
