"""The same verdicts as EvalPlus 0.3.1 on gold and on eight wrong or odd variants of every solution.

`evalplus_verdicts.json` is what EvalPlus said of nearly all tasks (`record_evalplus.py`); a twelfth of them is compared
here, every verdict of base and plus. `DIFFERENT` would name those that are not the same, and why.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from mutants import variants

from sandboxes.choose import open_sandbox
from sandboxes.verify import Verifiers
from suites import registry
from suites.code.evalplus import EvalPlusSuite
from suites.code.oracle import Oracle

RECORDED: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("evalplus_verdicts.json").read_text("utf-8"))
DIFFERENT: dict[str, str] = {}
"""task/variant → why our verdict is another one."""


async def differences(suite: EvalPlusSuite, wanted: set[str]) -> dict[str, str]:
    """task/variant → `ours, theirs` wherever they differ."""
    found: dict[str, str] = {}
    async with await open_sandbox("local", 2) as pool, Verifiers(sandbox=pool) as verifiers:
        oracle, slots = Oracle(pool), asyncio.Semaphore(4)

        async def one(identifier: str, name: str, program: str) -> None:
            async with slots:
                verdict = await verifiers.verify(problems[identifier].check, program)
            ours = verdict.parts.get("base") == 1.0, verdict.passed
            theirs = RECORDED[identifier][name]
            if ours != (theirs[0] == "p", theirs == "pp"):
                found[f"{identifier}/{name}"] = f"{verdict.outcome} {dict(verdict.parts)} {verdict.message}, {theirs}"

        tasks = [task for task in suite.tasks() if task.id in wanted]
        problems = {}
        for task in tasks:
            inputs = [*task.base, *task.plus]
            expected = await oracle.expected(task.oracle or task.solution, task.entry_point, inputs, task.limits)
            problems[task.id] = suite._problem(task, expected)
        await asyncio.gather(
            *(
                one(task.id, name, program)
                for task in tasks
                for name, program in variants(
                    task.solution if suite.prompt_is_code else task.ask + task.solution, task.entry_point
                ).items()
            )
        )
    return found


def quick_tasks(suite: EvalPlusSuite) -> set[str]:
    return {task.id for number, task in enumerate(suite.tasks()) if number % 12 == 2 and task.id in RECORDED}


@pytest.mark.usefixtures("data_dir")
@pytest.mark.parametrize("name", ["humaneval_plus", "mbpp_plus"])
async def test_a_twelfth_of_the_verdicts_is_evalplus_s(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    suite = registry.get(name)
    assert isinstance(suite, EvalPlusSuite)
    wanted = quick_tasks(suite)
    found = await differences(suite, wanted)
    assert set(found) == {key for key in DIFFERENT if key.rpartition("/")[0] in wanted}, found


def test_every_task_is_recorded_with_wrong_variants() -> None:
    assert len(RECORDED) == 164 + 378 - 5
    wrong = [sum(verdict != "pp" for verdict in verdicts.values()) for verdicts in RECORDED.values()]
    assert min(wrong) >= 1
    assert sum(number >= 2 for number in wrong) >= 450
