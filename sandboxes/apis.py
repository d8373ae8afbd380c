"""Calls of a data set's simulated APIs, run in the judge: for conversations between turns, and for their verdict.

Only data goes in: names and values of calls, beside trusted modules and the first state. Each job repeats what was
called before, so no worker is held while a model writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sandboxes.check import ApiCall, ApiSetting, Limits
from sandboxes.runtime.codec import encode
from sandboxes.sandbox import Ending, Role, Sandbox
from sandboxes.verifiers.attempts import JUDGE_LIMITS, Overrun, verdict_message
from sandboxes.verifiers.tool_text import Call

LIMITS = Limits(cpu_s=10, wall_s=JUDGE_LIMITS.wall_s, memory_mb=JUDGE_LIMITS.memory_mb)
"""For all calls of a task: honest ones take a tenth of a second, a power of a million digits may take for ever."""

Plain = tuple[str, list[Any], dict[str, Any]]


async def run_calls(sandbox: Sandbox, setting: ApiSetting, before: Sequence[Call], calls: Sequence[Call]) -> list[str]:
    """The text of each call's result, in a state that the calls before have left.

    Raises:
        Overrun: They take more than they may.
        SandboxError: The judge does not work.
    """
    job = ("run_apis", setting.modules, _plain(setting), _called(before), _called(calls))
    value, _ = await _judged(sandbox, job)
    if not (isinstance(value, list) and len(value) == len(calls) and all(isinstance(text, str) for text in value)):
        raise Overrun("the judge sent no results")
    return value


async def compare_calls(
    sandbox: Sandbox, setting: ApiSetting, turns: Sequence[Sequence[Call]], gold: Sequence[Sequence[ApiCall]]
) -> tuple[Mapping[str, Any], Ending]:
    """Whether calls do, turn by turn, what the right ones do; see `sandboxes.runtime.judge_apis`.

    Raises:
        Overrun, SandboxError: As `run_calls`.
    """
    right = [[(call.name, call.args, call.kwargs) for call in turn] for turn in gold]
    job = ("compare_apis", setting.modules, _plain(setting), [_called(turn) for turn in turns], right)
    value, ending = await _judged(sandbox, job)
    if not (isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("kind", "message"))):
        raise Overrun("the judge sent no verdict")
    return value, ending


async def _judged(sandbox: Sandbox, job: tuple[Any, ...]) -> tuple[Any, Ending]:
    async with sandbox.session(Role.JUDGE, LIMITS) as session:
        await session.send(encode(job))
        value = await verdict_message(sandbox, session, await session.receive())
        return value, await session.finish(kill=True)


def _plain(setting: ApiSetting) -> dict[str, Any]:
    return setting.model_dump(exclude={"modules"})


def _called(calls: Sequence[Call]) -> list[Plain]:
    return [
        (_text(call.name), [], {_text(key): _value(value) for key, value in call.arguments.items()}) for call in calls
    ]


def _value(value: Any) -> Any:
    """JSON's values; the codec carries text as UTF-8, and a lone surrogate is no text."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_value(item) for item in value)
    if isinstance(value, dict):
        return {_value(key): _value(item) for key, item in value.items()}
    return value


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
