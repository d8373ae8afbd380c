"""MultiPL-E on its own data: right answers pass in each language, wrong and empty ones fail, as its own rule has it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandboxes.choose import open_sandbox
from sandboxes.errors import SandboxUnavailable
from sandboxes.languages import named
from sandboxes.programs import Program, Programs
from sandboxes.verify import Verifiers
from suites import registry
from suites.code.multipl_e import LANGUAGES

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("data_dir")]

ADD = {
    "cpp": "    return x + y;",
    "java": "        return x + y;",
    "php": "    return $x + $y;\n}",
    "ts": "  return x + y;\n}",
    "cs": "        return x + y;",
    "sh": "    echo $(( $1 + $2 ))",
    "js": "  return x + y;\n}",
    "go": "    return x + y\n}",
    "rs": "    x + y",
}
"""Bodies of HumanEval_53_add, cut at MultiPL-E's stop strings as a base model's are."""
BY_EXIT_STATUS = ("cpp", "php", "sh", "js", "rs")
"""Languages whose plain concatenation runs here just as MultiPL-E runs it: its status is MultiPL-E's verdict."""


def test_every_language_of_the_data_is_offered_or_named(data_dir: Path) -> None:
    (entry,) = [entry for entry in registry.entries() if entry.name == "multipl_e"]
    assert set(ADD) == set(LANGUAGES) == set(entry.variants)
    there = {file.name.removeprefix("humaneval-").split(".")[0] for file in (data_dir / "multipl_e").glob("*.gz")}
    assert there == {*entry.variants, *entry.without_tools}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("language", LANGUAGES)
async def test_verdicts_are_those_of_multipl_e(language: str) -> None:
    suite = registry.get(f"multipl_e:{language}")
    (problem,) = [one for one in suite.problems() if one.id.endswith("_53_add")]
    right = ADD[language]
    wrong = right.replace("+", "-")
    closing = {"java": "\n    }\n}", "cs": "\n    }\n}"}.get(language, "" if right.endswith("}") else "\n}")
    whole = f"Here it is:\n\n```{language}\n{problem.ask}{right}{closing}\n```\nThat is all."
    try:
        pool = await open_sandbox("docker", workers=1)
    except SandboxUnavailable as missing:
        if os.environ.get("MELLUM_REQUIRE_DOCKER") != "1":
            pytest.skip(str(missing))
        raise
    async with pool:
        verifiers = Verifiers(sandbox=pool)
        for text, passes in ((right, True), (whole, True), (wrong, False), ("", False)):
            verdict = await verifiers.verify(problem.check, suite.answer(problem, text))
            assert verdict.passed is passes, (text, verdict)
            assert verdict.isolation == "shared"
        if language in BY_EXIT_STATUS:
            programs, tests = Programs(pool), getattr(problem.check, "tests", "")
            for body, passes in ((right, True), (wrong, False)):
                program = Program.of(named(language), f"{problem.ask}{body}\n{tests}")
                run = await programs.run(program, b"", problem.check.limits, capture_stdout=1 << 20)
                assert (run.phase == "run" and run.ending.status == 0) is passes
