"""Tool calls, judged by BFCL's AST rule."""

from __future__ import annotations

from dataclasses import replace

from sandboxes.check import Answer, ToolCallCheck
from sandboxes.extract import split
from sandboxes.sandbox import Sandbox
from sandboxes.verdict import Verdict, infra_error
from sandboxes.verifiers.ast_rule import UnknownFunction, function_of, mismatch, same_name
from sandboxes.verifiers.completion import MAX_CHARACTERS, judged, unparsed
from sandboxes.verifiers.tool_text import Call, MalformedCall, calls_in


class ToolCallVerifier:
    """Reads the calls of a completion and matches them. Nothing is run, so it needs no sandbox.

    Where no call is right (`answer` is empty), prose and an empty completion pass. Text that begins a `<tool_call>` but
    cannot be read is `unparsed` even there: the reference counts it as abstaining, but something was called.
    """

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        del sandbox

    async def verify(self, check: ToolCallCheck, answer: Answer) -> Verdict:
        """Judge one completion, or a list of calls that a server parsed."""
        verdict = _verdict(check, answer)
        if not check.part or verdict.score is None:
            return verdict
        return replace(verdict, parts={**verdict.parts, check.part: verdict.score})


def _verdict(check: ToolCallCheck, answer: Answer) -> Verdict:
    if isinstance(answer, str):
        if len(answer) > MAX_CHARACTERS:
            return unparsed(f"the completion has {len(answer):,} characters; at most {MAX_CHARACTERS:,} are judged")
        text = split(answer).answer
        if text is None:
            return unparsed("the reasoning was never closed, so there is no answer")
        answer = text
    if isinstance(answer, tuple):
        return unparsed("text or a list of calls is wanted, not numbers")
    try:
        calls = calls_in(answer)
    except MalformedCall as error:
        return unparsed(f"tool call: {error}")
    called = [call.name[:200] for call in calls[:50]]
    if check.any_call:
        right = bool(calls) and all(_offered(call, check) for call in calls)
        return judged(right, "no call of an offered function", called=called)
    if not check.answer:
        return judged(not calls, f"{len(calls)} calls where none is right", called=called)
    if not calls:
        return unparsed("no tool call")
    try:
        why = mismatch(calls, check.answer, check.tools, ordered=check.ordered, syntax=check.syntax)
    except UnknownFunction as error:
        return infra_error(str(error))
    return judged(why is None, why or "", called=called)


def _offered(call: Call, check: ToolCallCheck) -> bool:
    return any(same_name(call.name, str(function_of(tool).get("name"))) for tool in check.tools)
