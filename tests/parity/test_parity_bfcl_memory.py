"""BFCL's memories here, whose calls are repeated in the judge, against the reference's, which it reads from files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from make_bfcl_memory_calls import summed, talks

from sandboxes.choose import open_sandbox
from suites import registry
from suites.conversation import GoOn, ModelTurn

MADE = json.loads(Path(__file__).with_name("bfcl_memory_calls.json").read_text("utf-8"))


@pytest.mark.usefixtures("data_dir", "bfcl_wheel", "bm25_wheel")
@pytest.mark.parametrize("kind", ["kv", "rec_sum"])
async def test_results_and_what_is_kept_are_the_references(kind: str) -> None:
    chain = registry.get(f"bfcl_memory:{kind}").prerequisites()[:3]
    suite = registry.get(f"bfcl_memory:{kind}")
    async with await open_sandbox("local", 1) as pool:
        for seed, sums in enumerate(MADE[kind]):
            before = None
            for problem, calls, wanted in zip(chain, talks(kind, seed), sums, strict=True):
                held = suite.converse(problem if before is None else problem.after(before), pool)
                assert held is not None
                step = await held.step(ModelTurn("", calls))
                assert isinstance(step, GoOn)
                results = [message.content for message in step.messages]
                while isinstance(step, GoOn):
                    step = await held.step(ModelTurn("Noted."))
                before = step.answer
                assert summed(results, before[0]["memory"]) == wanted, (seed, problem.id, results)
