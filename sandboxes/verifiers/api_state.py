"""Calls over several turns, judged by what they do to simulated APIs: BFCL's multi-turn rule.

The answer is a list with one object for each step of the conversation, in order: `{"turn": 0, "calls": [{"name",
"arguments"}, …]}`, or, as its last, `{"turn": n, "stopped": why}` where the model was stopped. A conversation that did
not reach its last turn fails. Model and right calls run on objects of their own; what is compared after every turn is
said in `sandboxes.runtime.judge_apis`.
"""

from __future__ import annotations

from typing import Any

from sandboxes.apis import compare_calls
from sandboxes.check import Answer, ApiStateCheck
from sandboxes.sandbox import Sandbox
from sandboxes.verdict import Outcome, Verdict, infra_error
from sandboxes.verifiers.attempts import Overrun, verdict_of
from sandboxes.verifiers.completion import unparsed
from sandboxes.verifiers.tool_text import Call, MalformedCall, calls_in

MAX_STEPS = 4096
"""Steps that are judged; BFCL allows 21 a turn, and no task has more than 13 turns."""


class ApiStateVerifier:
    """Runs the calls in the judge."""

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        self._sandbox = sandbox

    async def verify(self, check: ApiStateCheck, answer: Answer) -> Verdict:
        """Judge one conversation. One test a turn that something is right in; the score is all or nothing."""
        if not isinstance(answer, list):
            return unparsed("the answer must be the calls of each turn, not text or numbers")
        try:
            turns, stopped = _turns(answer, len(check.gold))
        except MalformedCall as error:
            return unparsed(f"answer: {error}")
        if stopped:
            return _verdict(len(check.gold), 0, f"the model was stopped: {stopped}")
        if self._sandbox is None:
            return infra_error("running calls needs a sandbox")
        sandbox = self._sandbox
        return await verdict_of(sandbox, "split", lambda: _attempt(sandbox, check, turns))


async def _attempt(sandbox: Sandbox, check: ApiStateCheck, turns: list[list[Call]]) -> Verdict:
    common: dict[str, Any] = {"engine": sandbox.engine, "isolation": "split"}
    try:
        reply, ending = await compare_calls(sandbox, check.setting, turns, check.gold)
    except Overrun as overrun:
        try:
            await compare_calls(sandbox, check.setting, [[] for _ in check.gold], check.gold)
        except Overrun:
            return infra_error(f"the right calls: {overrun}", **common)
        return Verdict(Outcome.TAMPERED, 0.0, 0, len(check.gold), str(overrun), **common)
    turn = reply.get("turn")
    held = len(check.gold) if reply["kind"] == "passed" else turn if isinstance(turn, int) else 0
    return _verdict(len(check.gold), held, reply["message"][:600], cpu_s=ending.cpu_s, wall_s=ending.wall_s, **common)


def _verdict(total: int, held: int, message: str, **more: Any) -> Verdict:
    passed = held == total and not message
    return Verdict(
        Outcome.PASSED if passed else Outcome.FAILED, float(passed), min(held, total), total, message, **more
    )


def _turns(answer: list[dict[str, Any]], count: int) -> tuple[list[list[Call]], str]:
    """The calls of each turn, and why the model was stopped, if it was.

    Raises:
        MalformedCall: This is no record of a conversation.
    """
    if len(answer) > MAX_STEPS:
        raise MalformedCall(f"{len(answer):,} steps; at most {MAX_STEPS:,} are judged")
    turns: list[list[Call]] = [[] for _ in range(count)]
    at = 0
    for step in answer:
        number = step.get("turn")
        if not isinstance(number, int) or not at <= number < count:
            raise MalformedCall(f"turn must be a number from {at} to {count - 1}")
        at = number
        if "stopped" in step:
            return turns, str(step["stopped"])[:200] or "for no reason"
        calls = step.get("calls")
        if not isinstance(calls, list):
            raise MalformedCall("calls must be a list")
        turns[at] += calls_in(calls)
    return turns, "" if at == count - 1 and answer else f"in turn {at} of {count}"
