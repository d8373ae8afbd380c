"""A run's memory does not grow with its samples, and it says what it took and cost."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from serving import ROOT

from mellum_eval.plan import plan
from mellum_eval.records import Judgement
from mellum_eval.spec import RunSpec
from mellum_eval.spending import cost, spent_line
from mellum_eval.tally import Tally


def test_memory_is_flat_while_samples_go_by() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.million_samples", "--samples", "20000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.usefixtures("fake_suites")
def test_a_tally_keeps_what_scoring_needs_once() -> None:
    (suite,) = plan(RunSpec(model="mock:gold", suites=("late",)), chat=True)
    tally = Tally([suite])
    slots = [(question.key, sample) for question, sample in suite.slots()]
    fields = {"suite": "late", "problem": "p", "parts": {"half": 0.5}, "evidence": {"long": "x" * 1000}}
    for number, (key, sample) in enumerate(slots):
        score = None if number == 0 else 1.0
        tally.add(Judgement(key=key, sample=sample, outcome="passed", score=score, **fields))  # type: ignore[arg-type]
        tally.answered((key, sample), {"prompt": 2})
        tally.answered((key, sample), {"prompt": 100})  # asked for once only
    tally.add(Judgement(key="elsewhere", sample=0, outcome="passed", score=1.0, **fields))  # type: ignore[arg-type]
    assert len(tally) == len(slots) == 80 and sorted(tally) == sorted(slots)
    assert len({id(mark) for mark in tally.values()}) == 2, "equal verdicts are one object"
    assert not tally.is_judged(slots[0]) and tally.is_judged(slots[1])
    assert (
        tally.is_answered(slots[0])
        and not tally.is_answered(("elsewhere", 0))
        and not tally.is_answered((slots[0][0], 4))
    )
    assert tally.tokens("late") == {"prompt": 2.0}
    assert tally.total_tokens() == {"completions": 80, "prompt": 160}


def test_costs_are_those_of_the_tokens_that_were_counted() -> None:
    usage = {"prompt": 2_000_000, "completion": 1_000_000, "reasoning_estimated": 900_000}
    assert cost(usage, None, None) is None
    assert cost(usage, 0.5, 2.0) == 3.0 and cost(usage, None, 2.0) == 2.0 and cost({}, 1.0, 1.0) == 0.0
    line = spent_line(usage, 3.0)
    assert line == "2,000,000 tokens in, 1,000,000 out, about 900,000 of them reasoning, cost 3.0000"


async def test_a_run_says_what_it_took_and_cost(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mellum_eval", "run", "mock:gold,latency=0.02", "-s", "quick_knowledge"]
    command += ["--concurrency", "4", "--price-in", "1", "--price-out", "1e6", "--out", str(tmp_path / "run")]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = re.search(
        r"^time +[\d.]+ s: generation [\d.]+ s, verification [\d.]+ s; ([\d.]+) × the longer$", done.stdout, re.M
    )
    assert found and float(found[1]) <= 1.1, done.stdout
    usage = json.loads((tmp_path / "run" / "run.json").read_text())["usage"]
    assert usage["cost"] == usage["completion"] > 0
    assert re.search(r"^spent +0 tokens in, \d+ out, cost \d+\.0000$", done.stdout, re.M)
