"""Conversations to judge for parity with bfcl-eval's multi-turn checker: right calls, and ways to get them wrong.

Standard library only: the reference's own environment imports it too.
"""

from __future__ import annotations

import ast
import copy
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bfcl_cases import rows

KINDS = ("base", "miss_func", "miss_param", "long_context")

Call = dict[str, Any]
Turns = list[list[list[Call]]]
"""Turns of steps of calls."""


class Talk(NamedTuple):
    kind: str
    id: str
    form: str
    row: dict[str, Any]
    right: list[list[str]]
    turns: Turns

    @property
    def answer(self) -> list[dict[str, Any]]:
        """As a conversation of ours ends: each step, and the empty one that ends its turn."""
        steps = [[*turn, []] for turn in self.turns]
        return [{"turn": at, "calls": calls} for at, turn in enumerate(steps) for calls in turn]


def talks(data_dir: Path) -> Iterator[Talk]:
    """One a task, in a form that its id chooses; the right calls every fourth time."""
    folder = data_dir / "bfcl_v4"
    parameters = {
        document["name"]: list(document["parameters"]["properties"])
        for file in sorted((folder / "multi_turn_func_doc").glob("*.json"))
        for document in rows(file)
    }
    for kind in KINDS:
        right = {
            row["id"]: row["ground_truth"]
            for row in rows(folder / "possible_answer" / f"BFCL_v4_multi_turn_{kind}.json")
        }
        for row in rows(folder / f"BFCL_v4_multi_turn_{kind}.json"):
            pick = int.from_bytes(hashlib.sha256(row["id"].encode()).digest()[:4], "big")
            form = "gold" if pick % 4 == 0 else list(FORMS)[pick // 4 % len(FORMS)]
            gold: Turns = [[[_call(text, parameters) for text in turn]] if turn else [] for turn in right[row["id"]]]
            made = FORMS[form](copy.deepcopy(gold), pick // 64)
            yield Talk(kind, row["id"], form, row, right[row["id"]], made)


def _call(text: str, parameters: dict[str, list[str]]) -> Call:
    node = ast.parse(text.strip(), mode="eval").body
    assert isinstance(node, ast.Call)
    assert isinstance(node.func, ast.Name)
    by_place = dict(zip(parameters[node.func.id], map(ast.literal_eval, node.args), strict=False))
    by_name = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    return {"name": node.func.id, "arguments": by_place | by_name}


def _turn(turns: Turns, pick: int) -> list[list[Call]]:
    """One of the turns in which something is called."""
    filled = [turn for turn in turns if turn]
    return filled[pick % len(filled)]


def _with_arguments(turns: Turns, pick: int) -> Call:
    """One of the calls that have arguments, else any."""
    calls = [call for turn in turns for step in turn for call in step]
    having = [call for call in calls if call["arguments"]] or calls
    return having[pick % len(having)]


def _stepwise(turns: Turns, pick: int) -> Turns:
    return [[[call] for step in turn for call in step] for turn in turns]


def _without(turns: Turns, pick: int) -> Turns:
    step = _turn(turns, pick)[0]
    del step[pick % len(step)]
    return turns


def _twice(turns: Turns, pick: int) -> Turns:
    step = _turn(turns, pick)[0]
    step.append(copy.deepcopy(step[pick % len(step)]))
    return turns


def _silent(turns: Turns, pick: int) -> Turns:
    _turn(turns, pick).clear()
    return turns


def _backwards(turns: Turns, pick: int) -> Turns:
    _turn(turns, pick)[0].reverse()
    return turns


def _early(turns: Turns, pick: int) -> Turns:
    """A turn's calls a turn too soon."""
    if len(turns) > 1:
        at = pick % (len(turns) - 1)
        turns[at], turns[at + 1] = turns[at] + turns[at + 1], []
    return turns


def _eager(turns: Turns, pick: int) -> Turns:
    """Something is called where nothing can be done, else once more at the very end."""
    at = next((number for number, turn in enumerate(turns) if not turn), len(turns) - 1)
    turns[at] = [*turns[at], [copy.deepcopy(_with_arguments(turns, pick))]]
    return turns


def _other(turns: Turns, pick: int) -> Turns:
    arguments = _with_arguments(turns, pick)["arguments"]
    for key in sorted(arguments)[:1]:
        value = arguments[key]
        if isinstance(value, bool):
            arguments[key] = not value
        else:
            arguments[key] = value + 1 if isinstance(value, (int, float)) else "another"
    return turns


def _retyped(turns: Turns, pick: int) -> Turns:
    arguments = _with_arguments(turns, pick)["arguments"]
    for key in sorted(arguments)[:1]:
        arguments[key] = [arguments[key]]
    return turns


def _lacking(turns: Turns, pick: int) -> Turns:
    arguments = _with_arguments(turns, pick)["arguments"]
    for key in sorted(arguments)[:1]:
        del arguments[key]
    return turns


def _extra(turns: Turns, pick: int) -> Turns:
    _with_arguments(turns, pick)["arguments"]["unheard_of"] = {"a": [1, None, True]}
    return turns


def _unheard(turns: Turns, pick: int) -> Turns:
    """A call of nothing beside the right ones: an error that a model may recover from."""
    _turn(turns, pick)[0].insert(0, {"name": "launch_rocket", "arguments": {"to": "moon"}})
    return turns


def _prying(turns: Turns, pick: int) -> Turns:
    """Calls of what is no function of the API's."""
    hostile = ("__init__", "_load_scenario", "__class__", "root")[pick % 4]
    _turn(turns, pick)[0].insert(0, {"name": hostile, "arguments": {"scenario": {}}})
    return turns


FORMS: dict[str, Callable[[Turns, int], Turns]] = {
    "gold": lambda turns, pick: turns,
    "stepwise": _stepwise,
    "without": _without,
    "twice": _twice,
    "silent": _silent,
    "backwards": _backwards,
    "early": _early,
    "eager": _eager,
    "other": _other,
    "retyped": _retyped,
    "lacking": _lacking,
    "extra": _extra,
    "unheard": _unheard,
    "prying": _prying,
}
