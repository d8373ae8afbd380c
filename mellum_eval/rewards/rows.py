"""From a trainer's row to what a verifier takes: the check, as trainers' tables deliver it, and the answer in it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from mellum_eval.rewards.options import Options
from sandboxes.check import CODE_KINDS, Answer, Check, Limits, is_shared
from sandboxes.extract import last_fenced_block
from sandboxes.job import JobError, parse_check
from sandboxes.verdict import Verdict
from sandboxes.verifiers.completion import answer_part, unparsed


def checked(row: str, given: Any, options: Options) -> Check:
    """The check of a row.

    Args:
        row: How errors call it, as `row 3`.
        given: Contract 3's object without id and answer, or its JSON text. Fields that are None count as absent:
            Arrow tables pad rows of different kinds with them.
        options: For the limits, and whether sharing is allowed.

    Raises:
        ValueError: It is no check, or not one to reward by; names the row and the field.
    """
    try:
        check = _from_text(given) if isinstance(given, str) else _from_object(given)
    except JobError as error:
        raise ValueError(f"{row}: check.{error}") from None
    if is_shared(check) and not options.allow_shared:
        raise ValueError(f"{row}: {refused_as_shared(check.kind)}")
    if isinstance(options.limits, Limits):
        check = check.model_copy(update={"limits": options.limits})
    return check


def refused_as_shared(kind: str) -> str:
    """What is wrong with rewarding by such a check."""
    return (
        f"check.kind: this check of kind {kind} can only be judged inside the candidate's own process, where a policy "
        "can learn to forge the verdict; allow_shared=True takes it all the same"
    )


def answer_of(row: str, check: Check, completion: Any) -> Answer | Verdict:
    """What is to be judged in a completion, or the verdict that nothing is there.

    Args:
        row: How errors call it.
        check: Says by its kind what is wanted: code from the last fenced block, or the whole text.
        completion: Text, or the messages of a chat; of those the last one by the assistant counts.

    Raises:
        ValueError: The completion is neither.
    """
    text: Answer
    if isinstance(completion, str):
        text = completion
    elif isinstance(completion, Mapping) or _is_list(completion):
        text = _last_message(row, [completion] if isinstance(completion, Mapping) else list(completion), check)
    else:
        raise ValueError(f"{row}: completion: text or a list of messages is wanted, not {type(completion).__name__}")
    if check.kind not in CODE_KINDS or not isinstance(text, str):
        return text
    part = answer_part(text)
    if not isinstance(part, str):
        return part
    code = last_fenced_block(part)
    return unparsed("there is no fenced block of code in the answer") if code is None else code


@lru_cache(maxsize=1024)
def _from_text(text: str) -> Check:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise JobError(f"not JSON: {str(error)[:200]}") from None
    return _from_object(data)


def _from_object(given: Any) -> Check:
    if not isinstance(given, Mapping):
        raise JobError(f"an object or its JSON text is wanted, not {type(given).__name__}")
    fields = {str(name): _plain(value) for name, value in given.items() if value is not None}
    if isinstance(fields.get("limits"), dict):
        fields["limits"] = {name: value for name, value in fields["limits"].items() if value is not None}
    for name in ("id", "code", "completion"):
        if name in fields:
            raise JobError(f"{name}: does not belong here; the answer is the completion")
    return parse_check(fields)


def _plain(value: Any) -> Any:
    """Lists for the arrays in which some tables deliver nested lists."""
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))


def _last_message(row: str, messages: list[Any], check: Check) -> Answer:
    if not all(isinstance(message, Mapping) for message in messages):
        raise ValueError(f"{row}: completion: a message is not an object")
    message = next((m for m in reversed(messages) if m.get("role", "assistant") == "assistant"), None)
    if message is None:
        return ""
    calls = message.get("tool_calls")
    if check.kind == "tool_call" and calls and _is_list(calls):
        return [_call(call) for call in calls]
    content = message.get("content")
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if _is_list(content) and all(isinstance(part, Mapping) for part in content):
        return "".join(str(part.get("text") or "") for part in content if part.get("type", "text") == "text")
    raise ValueError(f"{row}: completion: a message's content is {type(content).__name__}, not text")


def _call(call: Any) -> dict[str, Any]:
    """One call in the verifier's form, from either of the forms that chat templates know."""
    inner = call.get("function", call) if isinstance(call, Mapping) else {}
    if not isinstance(inner, Mapping):
        inner = {}
    arguments = inner.get("arguments")
    if isinstance(arguments, str):
        with contextlib.suppress(ValueError, RecursionError):  # stays text, which is no arguments: the verifier says so
            arguments = json.loads(arguments)
    return {"name": inner.get("name"), "arguments": arguments}
