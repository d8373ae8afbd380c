"""None of `foreign.py` is credited, none is our fault, none leaves anything behind; and honest programs still pass."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from language_programs import SAMPLES

from sandboxes.check import CHECK
from sandboxes.engines import local_tools
from sandboxes.languages import LANGUAGES, LanguageName
from sandboxes.pool import SandboxPool
from sandboxes.verdict import Outcome, Verdict
from sandboxes.verify import Verifiers

from .foreign import ATTACKS, FIND, PLANT, SHELLS, SOURCES, carried

TIGHT = {"cpu_s": 0.3, "wall_s": 2, "memory_mb": 192}


@pytest_asyncio.fixture
async def verifiers(sandbox: SandboxPool) -> AsyncIterator[Verifiers]:
    """Over the pool of this directory's engines."""
    yield Verifiers(sandbox=sandbox)


async def judged(verifiers: Verifiers, language: str, code: str, stdin: str, stdout: str) -> Verdict:
    """One program put to one case."""
    case = {"stdin": stdin, "stdout": stdout}
    return await verifiers.verify(
        CHECK.validate_python({"kind": "stdio", "language": language, "cases": [case], "limits": TIGHT}), code
    )


def here(engine: str, language: LanguageName) -> bool:
    """Whether that engine has the language; where not, it says so (`tests/sandboxes/test_languages.py`)."""
    return engine == "docker" or not local_tools.missing(LANGUAGES[language])


LONG = {"kotlin", "typescript", "csharp"}
"""Languages whose compilers take seconds, or whose family another language attacks in full."""


@pytest.mark.parametrize("language", SHELLS)
async def test_no_attack_in_any_language_is_credited(
    verifiers: Verifiers, sandbox: SandboxPool, language: LanguageName
) -> None:
    if not here(sandbox.engine, language):
        assert (await judged(verifiers, language, "", "", "x")).outcome is Outcome.INFRA_ERROR
        return
    names = list(ATTACKS)[: 5 if language in LONG else None]
    sources = {name: carried(language, ATTACKS[name]) for name in names} | SOURCES.get(language, {})
    token = f"tok-{secrets.token_hex(16)}"
    verdicts = await asyncio.gather(*(judged(verifiers, language, code, "", token) for code in sources.values()))
    for name, verdict in zip(sources, verdicts, strict=True):
        assert verdict.outcome not in (Outcome.PASSED, Outcome.INFRA_ERROR), (name, verdict)
        assert verdict.score == 0.0, (name, verdict)
    # Nothing of one job is there for the next, on any worker.
    for _ in range(2):
        planted = await judged(verifiers, language, carried(language, PLANT), f"{token}\n", "planted")
        assert language == "csharp" or planted.outcome in (Outcome.PASSED, Outcome.TIMEOUT), planted
    found = await asyncio.gather(
        *(judged(verifiers, language, carried(language, FIND), f"{n}", token) for n in range(3))
    )
    assert not any(verdict.passed for verdict in found)
    honest = await verifiers.verify(
        CHECK.validate_python({"kind": "stdio", "language": language, "cases": [{"stdin": "20 22\n", "stdout": "42"}]}),
        SAMPLES[language].right,
    )
    assert honest.passed, honest
    assert await sandbox.healthy()


def test_each_family_is_attacked_in_at_least_five_ways() -> None:
    tried = [(5 if language in LONG else len(ATTACKS)) + 1 for language in SHELLS]
    assert min(tried) >= 5
    assert sum(tried) + sum(map(len, SOURCES.values())) == 106
