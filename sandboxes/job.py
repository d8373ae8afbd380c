"""One JSON object of contract 3, parsed: a check with the answer to judge. For the verb, the server and rewards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from sandboxes import prepared
from sandboxes.check import CHECK, CODE_KINDS, LIST_KINDS, Answer, CallsCheck, Check
from sandboxes.well_formed import complaint


class JobError(ValueError):
    """The object is no job. The message names the field; `id` is the object's, where it has one."""

    def __init__(self, message: str, id: str | None = None) -> None:
        super().__init__(message)
        self.id = id


@dataclass(frozen=True, slots=True)
class Job:
    """A check, the answer, and what the caller calls the two."""

    id: str
    check: Check
    answer: Answer


def parse_line(line: bytes) -> Job:
    """Parse a line of JSONL.

    Raises:
        JobError: It is no job.
    """
    try:
        data = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise JobError(f"not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise JobError(f"not JSON: {error.msg} (column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise JobError(f"not JSON that can be read: {str(error)[:200]}") from None
    return parse_job(data)


def parse_job(data: Any) -> Job:
    """Parse an object with `id`, the check's fields and the answer's field.

    Raises:
        JobError: It is no job.
    """
    if not isinstance(data, Mapping):
        raise JobError(f"a JSON object is wanted, not {_json_type(data)}")
    fields = dict(data)
    id = fields.pop("id", None)
    if id is None:
        raise JobError("id: required")
    if not isinstance(id, str):
        raise JobError(f"id: a string is wanted, not {_json_type(id)}")
    kind = fields.get("kind", "")
    if not isinstance(kind, str):
        raise JobError(f"kind: a string is wanted, not {_json_type(kind)}", id)
    name = "code" if kind in CODE_KINDS else "completion"
    answer = fields.pop(name, None)
    try:
        check = parse_check(fields)
    except JobError as error:
        raise JobError(str(error), id) from None
    if answer is None:
        raise JobError(f"{name}: required", id)
    calls = kind in LIST_KINDS and isinstance(answer, list) and all(isinstance(call, dict) for call in answer)
    if kind == "choice" and isinstance(answer, list) and all(type(value) in (int, float) for value in answer):
        answer = tuple(answer)
    elif not isinstance(answer, str) and not calls:
        lists = {
            **dict.fromkeys(LIST_KINDS, "a string or a list of objects"),
            "choice": "a string or a list of numbers",
        }
        wanted = lists.get(kind, "a string")
        raise JobError(f"{name}: {wanted} is wanted, not {_json_type(answer)}", id)
    return Job(id, check, answer)


def parse_check(fields: Mapping[str, Any]) -> Check:
    """Parse the object without `id` and answer, as rewards have it.

    Raises:
        JobError: It is no check.
    """
    try:
        check = CHECK.validate_python(dict(fields), strict=True)
        if isinstance(check, CallsCheck):
            prepared.ready(check)
    except ValidationError as error:
        raise JobError(_first(error)) from None
    except ValueError as error:
        raise JobError(str(error)) from None
    if wrong := complaint(check):
        raise JobError(wrong)
    return check


def _first(error: ValidationError) -> str:
    """The first complaint, with the path of its field. Never the value: that may be anything."""
    found = error.errors(include_url=False, include_input=False)
    first = found[0]
    if first["type"] == "union_tag_not_found":
        return "kind: required"
    if first["type"] == "union_tag_invalid":
        return f"kind: unknown; the kinds are {first['ctx']['expected_tags']}"
    path = ".".join(str(part) for part in first["loc"][1:])
    if first["type"] == "string_unicode" and not path:
        return "a field's name is not Unicode text"
    message = first["msg"].removeprefix("Value error, ")
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    text = {"missing": "required", "extra_forbidden": "no such field in this kind"}.get(first["type"], message)
    return f"{path}: {text}{more}" if path else f"{text}{more}"


def _json_type(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
