"""No cheat is believed, none ends as our fault, none hangs the pool, none leaves a trace; the honest all pass."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from sandboxes.check import Check
from sandboxes.pool import SandboxPool
from sandboxes.verdict import Outcome, Verdict
from sandboxes.verify import Verifiers

from .cheats import SECRET_CHEATS, SECRET_PREFIX, SQUARE_CHEATS
from .honest import FUNCTION_ONLY, HONEST
from .kinds import ARGUMENTS, KINDS, TIGHT, answer_of, check_of

SQUARES = {x: x * x + 1 for x in ARGUMENTS}
ROOMY = {"cpu_s": 10, "memory_mb": 512}
PER_JOB_S = 60  # a watchdog for the test itself: no single judgement may take this long on a loaded machine


async def judge_all(pool: SandboxPool, check: Check, answers: dict[str, str]) -> dict[str, Verdict]:
    """Judge every answer, two at a time, in order, so that each follows on the leavings of those before it."""
    verifiers = Verifiers(sandbox=pool)
    gate = asyncio.Semaphore(4)

    async def one(name: str, answer: str) -> tuple[str, Verdict]:
        async with gate, asyncio.timeout(PER_JOB_S * 4):
            return name, await verifiers.verify(check, answer)

    return dict(await asyncio.gather(*(one(name, answer) for name, answer in answers.items())))


def told(verdicts: dict[str, Verdict]) -> str:
    return "\n".join(f"{name}: {v.outcome} {v.score} {v.message}" for name, v in verdicts.items())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
async def test_no_cheat_is_believed(sandbox: SandboxPool, kind: str) -> None:
    check = check_of(kind, SQUARES, TIGHT)
    verdicts = await judge_all(sandbox, check, {name: answer_of(kind, code) for name, code in SQUARE_CHEATS.items()})
    believed = {n: v for n, v in verdicts.items() if v.passed}
    assert not believed, told(believed)
    ours = {n: v for n, v in verdicts.items() if v.outcome is Outcome.INFRA_ERROR}
    assert not ours, told(ours)
    after = await judge_all(sandbox, check_of(kind, SQUARES, ROOMY), {"after": answer_of(kind, HONEST["plain"])})
    assert after["after"].passed, told(after)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
async def test_no_thief_finds_the_secret(sandbox: SandboxPool, kind: str) -> None:
    secret = {x: SECRET_PREFIX + secrets.token_hex(16) for x in ARGUMENTS[:1]}
    check = check_of(kind, secret, {"cpu_s": 5, "memory_mb": 512})
    # First an honest holder of the secret in the same containers: whatever it leaves must not be found either.
    holder = answer_of(kind, f"def f(x): return {next(iter(secret.values()))!r}\n")
    first = await judge_all(sandbox, check, {str(n): holder for n in range(4)})
    assert all(v.passed for v in first.values()), told(first)
    verdicts = await judge_all(sandbox, check, {name: answer_of(kind, code) for name, code in SECRET_CHEATS.items()})
    wrong = {n: v for n, v in verdicts.items() if v.passed or v.outcome is Outcome.INFRA_ERROR}
    assert not wrong, told(wrong)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
async def test_the_honest_pass(sandbox: SandboxPool, kind: str) -> None:
    programs = HONEST if kind == "stdio" else HONEST | FUNCTION_ONLY
    if kind == "stdio":
        # These print something else than an int of the same value, as programs must not.
        programs = {n: c for n, c in programs.items() if n not in ("float_result", "numpy_scalar")}
    verdicts = await judge_all(
        sandbox, check_of(kind, SQUARES, ROOMY), {name: answer_of(kind, code) for name, code in programs.items()}
    )
    wronged = {n: v for n, v in verdicts.items() if not v.passed}
    assert not wronged, told(wronged)


@pytest.mark.parametrize("name", ["own_memory", "garbage_collector", "modules", "interned_strings"])
async def test_the_thieves_can_steal(sandbox: SandboxPool, name: str) -> None:
    """Where the secret does lie in the candidate's own process they find it, or their failures above prove nothing."""
    secret = SECRET_PREFIX + secrets.token_hex(16)
    check = check_of("calls", {3: secret}, {"cpu_s": 5, "memory_mb": 512})
    verdicts = await judge_all(sandbox, check, {name: f"here = {secret!r}\n" + SECRET_CHEATS[name]})
    assert verdicts[name].passed, told(verdicts)
