"""A suite's own answers taken the way a model's would be: through the conversation, where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat

from sandboxes.check import Answer
from sandboxes.sandbox import Sandbox
from suites.conversation import ModelTurn, Over
from suites.problem import Problem
from suites.suite import Suite


async def final_answer(suite: Suite, problem: Problem, text: str, sandbox: Sandbox | None) -> Answer:
    """What is judged of a completion, or of the conversation in which the suite's script of it is played.

    Raises:
        SandboxError: What a turn asked for could not be run.
    """
    conversation = suite.converse(problem, sandbox)
    if conversation is None:
        return suite.answer(problem, text)
    turns: Iterator[ModelTurn] = chain(suite.script(problem, text) if text else (), repeat(ModelTurn("")))
    try:
        while True:
            step = await conversation.step(next(turns))
            if isinstance(step, Over):
                return step.answer
    finally:
        await conversation.aclose()
