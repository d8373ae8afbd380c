"""No cheat that shares a process with its tests is credited, in any language, and honest oddities are."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import pytest

from sandboxes.check import CHECK, Limits
from sandboxes.languages import NAMES
from sandboxes.pool import SandboxPool
from sandboxes.programs import Programs
from sandboxes.verdict import Outcome, Verdict
from sandboxes.verify import Verifiers

from .naive import believed
from .programs import Attacks
from .programs.carried import carried

MODULES = ("bash", "cpp", "csharp", "go", "jvm", "node", "php", "rust")
ATTACKS: dict[str, Attacks] = {
    language: replace(attacks, cheats={**attacks.cheats, **carried(language)})
    for module in MODULES
    for language, attacks in importlib.import_module(f"tests.redteam.programs.{module}").LANGUAGES.items()
}
LIMITS = Limits(cpu_s=3, wall_s=18, memory_mb=1024)
"""Memory as builds have it, so that no worker's limit is changed between a build and its run."""
Found = TypeVar("Found")

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]


@pytest.fixture
def engine_name() -> str:
    """Go and Kotlin have no tools on the local engine."""
    return "docker"


async def each(programs: Mapping[str, str], judge: Callable[[str], Awaitable[Found]]) -> dict[str, Found]:
    """What `judge` finds of every program, by name; a few at a time."""
    gate = asyncio.Semaphore(4)

    async def one(code: str) -> Found:
        async with gate:
            return await judge(code)

    return dict(zip(programs, await asyncio.gather(*map(one, programs.values())), strict=True))


@pytest.mark.parametrize("language", ATTACKS)
async def test_cheats_are_not_credited_and_the_honest_are(sandbox: SandboxPool, language: str) -> None:
    attacks = ATTACKS[language]
    check = CHECK.validate_python(
        {"kind": "program", "language": language, "tests": attacks.tests, "limits": LIMITS.model_dump()}
    )
    verifiers = Verifiers(sandbox=sandbox)

    def judged(code: str) -> Awaitable[Verdict]:
        return verifiers.verify(check, code)

    cheats, honest = await each(attacks.cheats, judged), await each(attacks.honest, judged)
    wrong = {name: verdict for name, verdict in cheats.items() if verdict.passed is not False}
    wrong |= {name: verdict for name, verdict in honest.items() if not verdict.passed}
    assert not wrong, "\n".join(f"{name}: {v.outcome} {v.message} {dict(v.evidence)}" for name, v in wrong.items())
    assert {v.isolation for v in (*cheats.values(), *honest.values())} == {"shared"}
    assert all(v.outcome is not Outcome.INFRA_ERROR for v in cheats.values())


@pytest.mark.parametrize("language", ATTACKS)
async def test_the_usual_way_believes_the_others(sandbox: SandboxPool, language: str) -> None:
    """Answer and tests as one program, right if its status is 0: what this list would prove nothing without."""
    attacks, programs = ATTACKS[language], Programs(sandbox)
    tried = {name: code for name, code in attacks.cheats.items() if name not in attacks.aimed}
    found = await each(tried, lambda code: believed(programs, NAMES[language], code, attacks.tests, LIMITS))
    assert not [name for name, credited in found.items() if not credited]
    assert await believed(programs, NAMES[language], attacks.honest["plain"], attacks.tests, LIMITS)


def test_there_are_enough_of_them() -> None:
    for attacks in ATTACKS.values():
        assert attacks.aimed <= attacks.cheats.keys()
        assert len(attacks.cheats.keys() - attacks.aimed) >= 10 and attacks.honest
    assert sum(len(attacks.cheats) for attacks in ATTACKS.values()) == 260
    assert sum(len(attacks.cheats.keys() - attacks.aimed) for attacks in ATTACKS.values()) >= 150
