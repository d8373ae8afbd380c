"""BFCL's conversations: how many there are, what is offered when, and that none of the APIs is ever imported here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from sandboxes.check import ApiStateCheck
from sandboxes.choose import open_sandbox
from sandboxes.verify import Verifiers
from suites import registry
from suites.playing import final_answer
from suites.tools.bfcl_multi_turn import DONE, MORE_FUNCTIONS

pytestmark = pytest.mark.usefixtures("data_dir", "bfcl_wheel")


def test_there_are_200_of_each_kind_and_the_four_are_not_independent() -> None:
    suite = registry.get("bfcl_multi_turn")
    found = suite.problems()
    assert len({problem.id for problem in found}) == len(found) == 800
    assert len({problem.cluster for problem in found}) == 200
    for problem in found[::25]:
        json.dumps(dict(problem.metadata))
        assert isinstance(problem.check, ApiStateCheck)
        assert len(problem.check.gold) == len(problem.metadata["turns"])
        prompt = suite.render(problem, chat=True)
        assert prompt.messages[-1].content == problem.ask
        assert problem.ask in str(suite.render(problem, chat=False).text)
        assert not any(
            json.dumps(dict(call)) in str(prompt) for turn in json.loads(problem.gold or "") for call in turn
        )
    assert not any(name.startswith("bfcl_eval") for name in sys.modules)


def test_a_missed_function_comes_with_its_turn() -> None:
    suite = registry.get("bfcl_multi_turn:miss_func")
    problem = suite.problems()[0]
    first = {tool["function"]["name"] for tool in suite.render(problem, chat=True).tools}
    assert "sort" not in first
    later = [function["name"] for function in problem.metadata["offered"]["3"]]
    assert later[-1] == "sort"
    assert set(later) == first | {"sort"}
    assert [turn.text for turn in suite.script(problem, problem.gold or "") if turn.text] == [DONE] * 5


async def test_gold_goes_through_the_conversation(tmp_path: Path) -> None:
    async with await open_sandbox("local", 1) as pool:
        verifiers = Verifiers(sandbox=pool)
        for name in ("base", "miss_func", "long_context"):
            suite = registry.get(f"bfcl_multi_turn:{name}")
            problem = suite.problems()[0]
            answer = await final_answer(suite, problem, problem.gold or "", pool)
            assert isinstance(answer, list)
            assert (await verifiers.verify(problem.check, answer)).passed
            verdict = await verifiers.verify(problem.check, await final_answer(suite, problem, "", pool))
            assert verdict.message == "nothing was called in turn 0"


async def test_the_user_says_that_there_are_more_functions() -> None:
    suite = registry.get("bfcl_multi_turn:miss_func")
    problem = suite.problems()[0]
    from suites.conversation import GoOn, ModelTurn

    talk = suite.converse(problem, None)
    assert talk is not None
    said = []
    for _ in range(4):
        step = await talk.step(ModelTurn("no call"))
        assert isinstance(step, GoOn)
        said.append((step.messages[0].content, step.tools is not None))
    assert said[2] == (MORE_FUNCTIONS, True)
    assert [changed for _, changed in said] == [False, False, True, False]
