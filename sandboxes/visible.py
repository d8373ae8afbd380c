"""The tests that a model may see: a check of them alone, and in words what they showed."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from sandboxes import prepared
from sandboxes.check import AssertsCheck, CallsCheck, Check, StdioCheck
from sandboxes.literals import parse_list
from sandboxes.verdict import Verdict

Visible: TypeAlias = int | Sequence[int] | Literal["all"]
"""The tests that the prompt showed: the first so many, or their numbers from 0, or all of them."""


def visible_part(check: Check, visible: Visible) -> Check | None:
    """The check with the visible tests alone, None if there are none.

    Raises:
        ValueError: There are no such tests.
    """
    if isinstance(visible, str):
        if visible != "all":
            raise ValueError(f"visible: a number, a list of numbers, or all, is wanted, not {visible!r}")
        return check
    total = _tests(check)
    numbers = list(range(visible)) if isinstance(visible, int) else list(visible)
    if any(not 0 <= number < total for number in numbers) or (isinstance(visible, int) and visible < 0):
        raise ValueError(f"visible: {visible!r} is not among the {total} tests of this check of kind {check.kind}")
    if not numbers:
        return None
    if isinstance(check, CallsCheck):
        return _calls(check, numbers)
    if isinstance(check, AssertsCheck):
        return check.model_copy(update={"tests": [check.tests[number] for number in numbers]})
    if isinstance(check, StdioCheck):
        return check.model_copy(update={"cases": [check.cases[number] for number in numbers]})
    return check


def _tests(check: Check) -> int:
    if isinstance(check, CallsCheck):
        return len(prepared.ready(check).calls)
    if isinstance(check, AssertsCheck):
        return len(check.tests)
    return len(check.cases) if isinstance(check, StdioCheck) else 1


def _calls(check: CallsCheck, numbers: list[int]) -> CallsCheck:
    ready = prepared.ready(check)
    update: dict[str, Any] = {"groups": {}}
    for name, entries in (("calls", ready.calls), ("expected", ready.expected)):
        packed = prepared.pack_entries([entries[number] for number in numbers])
        update |= {name: None, f"{name}_py": None, f"{name}_b64": base64.b64encode(packed).decode("ascii")}
    if check.also_py is not None:
        also = parse_list(check.also_py, "also_py")
        update["also_py"] = repr([also[number] for number in numbers])
    return check.model_copy(update=update)


def words(verdict: Verdict) -> str:
    """What went wrong, for the model's next attempt: only of a verdict on tests that it may see."""
    lines = [f"{str(verdict.outcome).replace('_', ' ')}: {verdict.message}".rstrip(": ")]
    for field in ("arguments", "source", "got", "expected", "stderr"):
        value = verdict.evidence.get(field)
        if isinstance(value, str) and value.strip():
            lines.append(f"{field}: {value.strip()}")
    return "\n".join(lines)
