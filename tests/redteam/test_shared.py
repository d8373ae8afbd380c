"""Tests that run beside the candidate: the named list is not believed, and the honest pass."""

from __future__ import annotations

import pytest

from sandboxes.check import CHECK
from sandboxes.pool import SandboxPool
from sandboxes.verdict import Outcome

from .honest import FUNCTION_ONLY, HONEST
from .kinds import SHARED_KINDS, TIGHT, shared_check_of
from .shared_cheats import BELIEVED, NAMED
from .test_cheats import ROOMY, SQUARES, judge_all, told


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", SHARED_KINDS)
async def test_none_of_the_named_list_is_believed(sandbox: SandboxPool, kind: str) -> None:
    verdicts = await judge_all(sandbox, shared_check_of(kind, SQUARES, TIGHT), NAMED)
    assert {v.isolation for v in verdicts.values()} == {"shared"}
    believed = {n: v for n, v in verdicts.items() if v.passed}
    assert not believed, told(believed)
    ours = {n: v for n, v in verdicts.items() if v.outcome is Outcome.INFRA_ERROR}
    assert not ours, told(ours)
    after = await judge_all(sandbox, shared_check_of(kind, SQUARES, ROOMY), {"after": HONEST["plain"]})
    assert after["after"].passed, told(after)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", SHARED_KINDS)
async def test_the_honest_pass_beside_their_tests(sandbox: SandboxPool, kind: str) -> None:
    programs = HONEST | FUNCTION_ONLY
    if kind == "program":
        del programs["noop_main_guard"]  # as a program it ends there, before its tests
    verdicts = await judge_all(sandbox, shared_check_of(kind, SQUARES, ROOMY), programs)
    wronged = {n: v for n, v in verdicts.items() if not v.passed}
    assert not wronged, told(wronged)


@pytest.mark.parametrize("kind", SHARED_KINDS)
async def test_ctypes_steals_the_verdict(sandbox: SandboxPool, kind: str) -> None:
    """What `docs/sandbox.md` says does not survive: and why the attacks on memory above prove something."""
    verdicts = await judge_all(sandbox, shared_check_of(kind, SQUARES, ROOMY), BELIEVED)
    assert all(v.passed for v in verdicts.values()), told(verdicts)


@pytest.mark.parametrize("engine_name", ["local"])
async def test_the_usual_way_believes_many_of_them(sandbox: SandboxPool) -> None:
    """Code, then tests, then `unittest.main()`, and the exit status: what this list would prove nothing without."""
    check = shared_check_of("unittest", SQUARES, TIGHT)
    usual = {name: f"{code}\n{check.test}\nunittest.main()\n" for name, code in NAMED.items()}  # type: ignore[union-attr]
    exits_with_0 = CHECK.validate_python({"kind": "stdio", "cases": [{"stdin": "", "stdout": ""}], "limits": TIGHT})
    verdicts = await judge_all(sandbox, exits_with_0, usual)
    believed = {n for n, v in verdicts.items() if v.passed}
    assert len(believed) >= 25, sorted(believed)
