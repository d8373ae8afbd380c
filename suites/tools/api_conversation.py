"""A conversation over BFCL's APIs: calls are answered by their results, text by what the user says next.

In each turn the model may call, see the results and call again, at most 21 times (the reference's limit); text without
a call ends the turn, as text that cannot be read does. What the model wrote is parsed into names and values. Simulated
APIs come from the reference's wheel and run in the judge.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from sandboxes.apis import run_calls
from sandboxes.check import Answer, ApiSetting
from sandboxes.errors import SandboxError
from sandboxes.sandbox import Sandbox
from sandboxes.verifiers.attempts import Overrun
from sandboxes.verifiers.tool_text import Call, MalformedCall, calls_in
from suites.conversation import GoOn, ModelTurn, Over, Step
from suites.problem import Message

MAX_STEPS = 21


class ApiConversation(ABC):
    """One sample's way through the turns; what it ends with is the subclass's."""

    def __init__(self, later: Sequence[GoOn] = ()) -> None:
        """Begin.

        Args:
            later: What the user says in each turn after the first, with the functions that are new then.
        """
        self._later = later
        self._turn = self._steps = 0
        self._said: list[dict[str, Any]] = []  # by step, whether or not it could be run

    @abstractmethod
    async def _run(self, calls: Sequence[Call]) -> list[str]:
        """The text of each call's result.

        Raises:
            Overrun: They take more than they may.
            SandboxError: They could not be run, and that is not the model's doing.
        """

    @abstractmethod
    async def _ended(self, text: str) -> Answer:
        """What is judged, or kept: the last turn ended with this text."""

    @abstractmethod
    async def _stopped(self, why: str) -> Answer:
        """What is judged, or kept, where the model had to be stopped."""

    async def step(self, turn: ModelTurn) -> Step:
        """Run the calls of a step, or go on to the next turn."""
        try:
            calls = calls_in([dict(call) for call in turn.tool_calls] or turn.text)
        except MalformedCall:
            calls = []
        self._said.append({"turn": self._turn, "calls": written(calls)})
        if not calls:
            return await self._next(turn.text)
        try:
            results = await self._run(calls)
        except Overrun as overrun:
            return Over(await self._stopped(str(overrun)))
        self._steps += 1
        if self._steps >= MAX_STEPS:
            return Over(await self._stopped(f"{MAX_STEPS} steps in one turn"))
        return GoOn(tuple(Message("tool", result) for result in results))

    async def aclose(self) -> None:
        """Forget what was said; nothing else is held between turns."""
        self._said = []

    async def _next(self, text: str) -> Step:
        if self._turn == len(self._later):
            return Over(await self._ended(text))
        self._turn += 1
        self._steps = 0
        return self._later[self._turn - 1]


class SimulatedApis(ApiConversation):
    """Calls run in the sandbox, after all those before them: nothing lives there between a model's turns."""

    def __init__(
        self, sandbox: Sandbox | None, setting: ApiSetting, later: Sequence[GoOn], called: Sequence[Call] = ()
    ) -> None:
        """Begin.

        Args:
            sandbox: Where calls are run.
            setting: The APIs in their first state.
            later: As for every conversation.
            called: What was called in conversations before, which left the state that this one begins with.
        """
        super().__init__(later)
        self._sandbox, self._setting = sandbox, setting
        self._called = list(called)

    async def _run(self, calls: Sequence[Call]) -> list[str]:
        results = await self._results(calls)
        self._called += calls
        return results

    async def _results(self, calls: Sequence[Call]) -> list[str]:
        """What calls would give now."""
        if self._sandbox is None:
            raise SandboxError("running calls needs a sandbox")
        return await run_calls(self._sandbox, self._setting, self._called, calls)


async def result_text(offered: Mapping[str, Callable[..., Awaitable[Any]]], call: Call) -> str:
    """The text of the result of a call that this process runs itself, or of its error, as the reference words them.

    Args:
        offered: The functions that may be called, by name.
        call: What a model called.

    Raises:
        SandboxError: What a function needs does not work, which is not the model's doing.
    """
    try:
        if call.name not in offered:
            raise NameError(f"name {call.name.partition('.')[0]!r} is not defined")
        result = await offered[call.name](**call.arguments)
    except SandboxError:
        raise
    except Exception as error:
        return f"Error during execution: {error}"
    return json.dumps(result) if isinstance(result, dict) else str(result)


def written(calls: Sequence[Call]) -> list[dict[str, Any]]:
    """Calls as they are stored."""
    return [{"name": call.name, "arguments": dict(call.arguments)} for call in calls]
