"""No cheat that shares a process with its tests is credited, in any language, and honest oddities are."""

from __future__ import annotations

import asyncio
import importlib

import pytest

from sandboxes.check import CHECK
from sandboxes.pool import SandboxPool
from sandboxes.verdict import Outcome, Verdict
from sandboxes.verify import Verifiers

from .programs import Attacks

MODULES = ("bash", "cpp", "csharp", "go", "jvm", "node", "php", "rust")
ATTACKS: dict[str, Attacks] = {
    language: attacks
    for module in MODULES
    for language, attacks in importlib.import_module(f"tests.redteam.programs.{module}").LANGUAGES.items()
}
LIMITS = {"cpu_s": 3, "wall_s": 18, "memory_mb": 1024}
"""Memory as builds have it, so that no worker's limit is changed between a build and its run."""


def test_there_are_enough_of_them() -> None:
    assert all(len(attacks.cheats) >= 8 and attacks.honest for attacks in ATTACKS.values())
    assert sum(len(attacks.cheats) for attacks in ATTACKS.values()) >= 150


@pytest.mark.docker
@pytest.mark.timeout(900)
@pytest.mark.parametrize("engine_name", ["docker"])
@pytest.mark.parametrize("language", ATTACKS)
async def test_cheats_are_not_credited_and_the_honest_are(sandbox: SandboxPool, language: str) -> None:
    attacks = ATTACKS[language]
    check = CHECK.validate_python({"kind": "program", "language": language, "tests": attacks.tests, "limits": LIMITS})
    verifiers, gate = Verifiers(sandbox=sandbox), asyncio.Semaphore(4)

    async def judged(code: str) -> Verdict:
        async with gate:
            return await verifiers.verify(check, code)

    async def all_of(programs: dict[str, str]) -> dict[str, Verdict]:
        return dict(zip(programs, await asyncio.gather(*map(judged, programs.values())), strict=True))

    cheats, honest = await all_of(dict(attacks.cheats)), await all_of(dict(attacks.honest))
    wrong = {name: verdict for name, verdict in cheats.items() if verdict.passed is not False}
    wrong |= {name: verdict for name, verdict in honest.items() if not verdict.passed}
    assert not wrong, "\n".join(f"{name}: {v.outcome} {v.message} {dict(v.evidence)}" for name, v in wrong.items())
    assert {v.isolation for v in (*cheats.values(), *honest.values())} == {"shared"}
    assert all(v.outcome is not Outcome.INFRA_ERROR for v in cheats.values())
