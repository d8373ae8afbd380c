"""Programs of every language: each outcome, on the family's image, and on the host's own tools where they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from typing import get_args

import pytest
import pytest_asyncio
from engines import engine_called
from language_programs import SAMPLES

from sandboxes.check import CHECK
from sandboxes.engines import local_tools
from sandboxes.languages import FAMILIES, LANGUAGES, NAMES, Family, LanguageName, named
from sandboxes.limits import Limits
from sandboxes.pool import SandboxPool
from sandboxes.programs import Program, Programs
from sandboxes.sandbox import End, Role
from sandboxes.verdict import Outcome, Verdict
from sandboxes.verify import Verifiers

WANTED = {
    "right": {Outcome.PASSED},
    "wrong": {Outcome.FAILED},
    "broken": {Outcome.COMPILE_ERROR},
    "crash": {Outcome.RUNTIME_ERROR},
    "loop": {Outcome.TIMEOUT},
    "hoard": {Outcome.OUT_OF_MEMORY},
}


@pytest_asyncio.fixture(params=[pytest.param("docker", marks=pytest.mark.docker), "local"])
async def pool(request: pytest.FixtureRequest) -> AsyncIterator[SandboxPool]:
    """Two workers."""
    async with SandboxPool(await engine_called(request.param), 2) as made:
        yield made


async def judged(pool: SandboxPool, language: str, code: str, **limits: float) -> Verdict:
    """One program, put to two cases."""
    check = CHECK.validate_python(
        {
            "kind": "stdio",
            "language": language,
            "cases": [{"stdin": "20 22\n", "stdout": "42"}, {"stdin": "1 2\n", "stdout": "3\n"}],
            "limits": {"cpu_s": 3, "wall_s": 30, "memory_mb": 256, **limits},
        }
    )
    return await Verifiers(sandbox=pool).verify(check, code)


@pytest.mark.parametrize("language", SAMPLES)
async def test_every_outcome_in_every_language(pool: SandboxPool, language: LanguageName) -> None:
    if pool.engine == "local" and local_tools.missing(LANGUAGES[language]):
        verdict = await judged(pool, language, SAMPLES[language].right)
        assert verdict.outcome is Outcome.INFRA_ERROR
        assert LANGUAGES[language].title in verdict.message
        assert f"mellum-eval sandbox build --from-debian --family {LANGUAGES[language].family}" in verdict.message
        return
    programs = asdict(SAMPLES[language])
    verdicts = await asyncio.gather(*(judged(pool, language, code) for code in programs.values()))
    for name, verdict in zip(programs, verdicts, strict=True):
        assert verdict.outcome in WANTED[name], (name, verdict)
        assert verdict.score == (1.0 if name == "right" else 0.0), (name, verdict)
        if name == "broken":
            assert verdict.evidence["compiler"], verdict
    assert await pool.healthy()


def test_the_table_is_whole() -> None:
    """Every name of the contract has a language, every alias one meaning, every family an image."""
    assert set(get_args(LanguageName)) == set(LANGUAGES) == set(SAMPLES) | {"python"}
    assert set(get_args(Family)) == set(FAMILIES) == {language.family for language in LANGUAGES.values()}
    assert all(NAMES[name] == name for name in LANGUAGES)
    assert [named(alias).name for alias in ("C++", "js", "TS", "rs", "cs", "kt", "sh", "golang")] == [
        "cpp",
        "javascript",
        "typescript",
        "rust",
        "csharp",
        "kotlin",
        "bash",
        "go",
    ]


@pytest.mark.parametrize(
    ("code", "source", "main"),
    [
        ("public class Solution { public static void main(String[] a) {} }", "Solution.java", "Solution"),
        ("class A {} class B { static void main(String[] a) {} }", "Main.java", "B"),
        ("package x.y; public final class C { class D {} public static void main(String[] a) {} }", "C.java", "x.y.C"),
        ('// public class No\npublic class Yes { String s = "class Q {"; static void main() {} }', "Yes.java", "Yes"),
        ("public interface I {} record R(int a) { public static void main(String... a) {} }", "I.java", "R"),
        ("nonsense", "Main.java", "Main"),
    ],
)
def test_java_files_are_named_by_their_public_class(code: str, source: str, main: str) -> None:
    assert LANGUAGES["java"].names_in(code) == (source, main)


@pytest.mark.docker
async def test_what_was_compiled_once_is_kept_and_what_met_a_limit_is_not() -> None:
    async with SandboxPool(await engine_called("docker"), 2) as pool:
        programs = Programs(pool)
        program = Program.of(LANGUAGES["cpp"], SAMPLES["cpp"].right)
        together = await asyncio.gather(*(programs.build(program) for _ in range(5)))
        assert all(build is together[0] for build in together)
        assert await programs.build(program) is together[0]
        other = replace(program, build=(*program.build[:-1], (*program.build[-1], "-O0")))
        assert (await programs.build(other)) is not together[0]
        hasty = replace(
            program,
            language=replace(program.language, build_limits=Limits(cpu_s=0.05, wall_s=10, memory_mb=512)),
            files={**program.files, "more": b""},
        )
        first, second = await programs.build(hasty), await programs.build(hasty)
        assert first is not second
        for build in (first, second):
            assert build.failed
            assert build.ending is not None
            assert build.ending.end is End.CPU_LIMIT


@pytest.mark.docker
async def test_as_many_work_at_a_time_as_there_are_workers_whatever_their_family() -> None:
    async with SandboxPool(await engine_called("docker"), 1) as pool:
        running = most = 0

        async def job(language: LanguageName, number: int) -> None:
            nonlocal running, most
            code = SAMPLES[language].right + " " * number
            async with pool.session(Role.ARENA, Limits(), family=LANGUAGES[language].family):
                running += 1
                most = max(most, running)
                await asyncio.sleep(0.01)
                running -= 1
            assert (await judged(pool, language, code)).passed

        await asyncio.gather(*(job(language, n) for n in range(3) for language in ("bash", "php", "cpp")))
        assert most == 1
