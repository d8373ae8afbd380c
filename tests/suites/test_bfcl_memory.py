"""BFCL's memories: who follows whom, what a prompt shows of a memory, and that what was kept is there later."""

from __future__ import annotations

import json
import sys

import pytest

from sandboxes.check import ContainsCheck
from sandboxes.choose import open_sandbox
from sandboxes.pool import SandboxPool
from sandboxes.verify import Verifiers
from suites import registry
from suites.conversation import GoOn, ModelTurn, Over
from suites.playing import final_answer
from suites.problem import Problem
from suites.suite import Suite
from suites.tools.api_conversation import MAX_STEPS
from suites.tools.bfcl_memory import EMPTY, UNKNOWN, shown
from suites.tools.bfcl_package import prompt_texts

pytestmark = pytest.mark.usefixtures("data_dir", "bfcl_wheel", "bm25_wheel")


def test_every_question_follows_the_last_conversation_of_its_scenario() -> None:
    suite = registry.get("bfcl_memory")
    found, before = suite.problems(), {problem.id: problem for problem in suite.prerequisites()}
    assert len({problem.id for problem in found}) == len(found) == 310
    assert len(before) == 2 * 37
    assert {problem.cluster for problem in found} == {"customer", "finance", "healthcare", "notetaker", "student"}
    for problem in found:
        assert isinstance(problem.check, ContainsCheck)
        assert problem.check.match == "words"
        chain = [before[problem.follows or ""]]
        while chain[-1].follows is not None:
            chain.append(before[chain[-1].follows])
        same = {(one.metadata["kind"], one.metadata["scenario"]) for one in (problem, *chain)}
        assert len(same) == 1
        assert len(chain) == sum((one.metadata["kind"], one.metadata["scenario"]) in same for one in before.values())
    assert not any(name.startswith("bfcl_eval") for name in sys.modules)


@pytest.mark.parametrize("kind", ["kv", "rec_sum", "vector"])
def test_a_prompt_shows_the_memory(kind: str) -> None:
    suite = registry.get(f"bfcl_memory:{kind}")
    question, conversation = suite.problems()[0], suite.prerequisites()[0]
    asked = prompt_texts()["ADDITIONAL_SYSTEM_PROMPT_FOR_AGENTIC_RESPONSE_FORMAT"]
    empty = suite.render(question, chat=True)
    assert EMPTY[kind] in empty.messages[0].content
    assert empty.messages[0].content.endswith(f"\n\n{asked}")
    assert empty.messages[1].content == "What is my first name?"
    later = suite.render(question.after([{"memory": "{name: Michael}", "calls": []}]), chat=True)
    assert "{name: Michael}" in later.messages[0].content
    assert EMPTY[kind] not in later.messages[0].content
    talk = suite.render(conversation, chat=True)
    assert asked not in talk.messages[0].content
    assert len(conversation.metadata["later"]) == 8
    assert {tool["function"]["name"] for tool in talk.tools} == {tool["function"]["name"] for tool in empty.tools}
    assert "What is my first name?" in str(suite.render(question, chat=False).text)


def test_what_is_shown_is_what_the_reference_shows() -> None:
    assert shown("kv", '{"a": "\\u00e9"}') == '{\n    "a": "\\u00e9"\n}'
    assert shown("kv", "{}") == EMPTY["kv"]
    assert shown("rec_sum", '{"memory_content": "é"}') == "é"
    assert shown("rec_sum", '{"error": "Memory is empty."}') == EMPTY["rec_sum"]


async def talked(suite: Suite, problem: Problem, pool: SandboxPool, calls: list[dict]) -> tuple[list[str], Problem]:
    """The results of calls made in the first turn, and a question that follows the conversation."""
    talk = suite.converse(problem, pool)
    assert talk is not None
    step = await talk.step(ModelTurn("", calls))
    assert isinstance(step, GoOn)
    results = [message.content for message in step.messages]
    while isinstance(step, GoOn):
        step = await talk.step(ModelTurn("I see."))
    return results, suite.problems()[0].after(step.answer)


async def said(suite: Suite, problem: Problem, pool: SandboxPool, name: str, **arguments: str) -> str:
    talk = suite.converse(problem, pool)
    assert talk is not None
    step = await talk.step(ModelTurn("", [{"name": name, "arguments": arguments}]))
    assert isinstance(step, GoOn)
    return step.messages[0].content


async def test_what_was_kept_is_there_later() -> None:
    suite = registry.get("bfcl_memory:kv")
    first, second = suite.prerequisites()[:2]
    notes = [
        {"name": "core_memory_add", "arguments": {"key": "name", "value": "Mi'chael"}},
        {"name": "archival_memory_add", "arguments": {"key": "home_town", "value": "Seattle"}},
        {"name": "archival_memory_key_search", "arguments": {"query": "town"}},
        {"name": "_flush_memory_to_local_file", "arguments": {}},
    ]
    async with await open_sandbox("local", 1) as pool:
        results, after_first = await talked(suite, first, pool, notes)
        assert json.loads(results[2])["ranked_results"][0][1] == "home_town"
        assert results[3] == "Error during execution: name '_flush_memory_to_local_file' is not defined"
        before = after_first.metadata["before"]
        results, question = await talked(suite, second.after(before), pool, [notes[0]])
        assert results == ['{"error": "Key name must be unique."}']
        assert shown("kv", '{"name": "Mi\'chael"}') in suite.render(question, chat=True).messages[0].content
        assert "Seattle" not in suite.render(question, chat=True).messages[0].content
        assert await said(suite, question, pool, "archival_memory_retrieve", key="home_town") == '{"value": "Seattle"}'
        # What a question changes, no other one sees.
        await said(suite, question, pool, "archival_memory_clear")
        assert "Seattle" in await said(suite, question, pool, "archival_memory_retrieve", key="home_town")
        assert "not found" in await said(suite, suite.problems()[0], pool, "archival_memory_retrieve", key="home_town")


async def test_who_is_stopped_has_kept_what_was_kept_and_said_nothing() -> None:
    suite = registry.get("bfcl_memory:rec_sum")
    call = {"name": "memory_append", "arguments": {"text": "x"}}
    async with await open_sandbox("local", 1) as pool:
        ends = []
        for problem in (suite.prerequisites()[0], suite.problems()[0]):
            talk = suite.converse(problem, pool)
            assert talk is not None
            for _ in range(MAX_STEPS):
                step = await talk.step(ModelTurn("", [call]))
            assert isinstance(step, Over)
            ends.append(step.answer)
    assert ends[0][0]["memory"] == "x" * MAX_STEPS
    assert ends[1] == ""


async def test_gold_is_right_and_not_knowing_is_not() -> None:
    async with await open_sandbox("local", 1) as pool:
        verifiers = Verifiers(sandbox=pool)
        suite = registry.get("bfcl_memory:rec_sum")
        problem = suite.problems()[22]
        for text, right in ((problem.gold or "", True), (UNKNOWN, False), ("", False)):
            answer = await final_answer(suite, problem, text, pool)
            assert (await verifiers.verify(problem.check, answer)).passed is right
