"""Calls to judge for parity with bfcl-eval: the gold calls of every AST category, and mutations of each.

Python's categories have ten mutations a task, Java's and JavaScript's nineteen: those that change the value, and those
that change its source text. Standard library only: the reference's own environment imports it too.
"""

from __future__ import annotations

import copy
import gzip
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from suites.tools.source_text import source_text

SYNTAX = {"simple_java": "java", "simple_javascript": "javascript"}

CATEGORIES = (
    "simple_python",
    "simple_java",
    "simple_javascript",
    "multiple",
    "parallel",
    "parallel_multiple",
    "live_simple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
)

Calls = list[dict[str, dict[str, Any]]]


class Case(NamedTuple):
    id: str
    mutation: str
    tools: list[dict[str, Any]]
    possible: list[dict[str, Any]]
    calls: Calls


def rows(path: Path) -> list[dict[str, Any]]:
    packed = path.with_name(path.name + ".gz")
    data = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
    return [json.loads(line) for line in data.decode().splitlines() if line.strip()]


def cases(data_dir: Path, category: str) -> Iterator[Case]:
    folder = data_dir / "bfcl_v4"
    answers = {r["id"]: r["ground_truth"] for r in rows(folder / "possible_answer" / f"BFCL_v4_{category}.json")}
    for row in rows(folder / f"BFCL_v4_{category}.json"):
        possible = answers[row["id"]]
        gold = [{name: _arguments(arguments)} for call in possible for name, arguments in call.items()]
        for name, mutate in MUTATIONS.items():
            pick = int.from_bytes(hashlib.sha256(f"{row['id']}/{name}".encode()).digest()[:4], "big")
            calls = mutate(copy.deepcopy(gold), pick)
            if category in SYNTAX:
                calls = [_written(call, row["function"][0], SYNTAX[category]) for call in calls]
            yield Case(row["id"], name, row["function"], possible, calls)
        for name, rewrite in REWRITTEN.items() if category in SYNTAX else ():
            written = [_written(call, row["function"][0], SYNTAX[category]) for call in copy.deepcopy(gold)]
            for call in written:
                for arguments in call.values():
                    arguments.update({key: rewrite(value) for key, value in arguments.items()})
            yield Case(row["id"], name, row["function"], possible, written)


def _written(call: dict[str, dict[str, Any]], function: dict[str, Any], syntax: str) -> dict[str, dict[str, Any]]:
    """The call with its arguments as source text."""
    schemas = function["parameters"]["properties"]
    return {
        name: {
            key: source_text(
                value,
                schemas.get(key, {}).get("type", "any"),
                (schemas.get(key, {}).get("items") or {}).get("type"),
                syntax,
            )
            for key, value in arguments.items()
        }
        for name, arguments in call.items()
    }


def _arguments(possible: dict[str, list[Any]]) -> dict[str, Any]:
    return {key: _value(values) for key, values in possible.items() if values and (values[0] != "" or len(values) == 1)}


def _value(values: list[Any]) -> Any:
    value = values[0]
    if isinstance(value, dict):
        return {key: inner[0] for key, inner in value.items() if inner and inner[0] != ""}
    if isinstance(value, list):
        return [{k: v[0] for k, v in item.items() if v} if isinstance(item, dict) else item for item in value]
    return value


def _some(calls: Calls, pick: int) -> tuple[dict[str, Any], str] | None:
    """One argument of one call."""
    call = calls[pick % len(calls)]
    arguments = next(iter(call.values()))
    return (arguments, sorted(arguments)[pick % len(arguments)]) if arguments else None


def _change(change: Callable[[Any], Any]) -> Callable[[Calls, int], Calls]:
    def mutate(calls: Calls, pick: int) -> Calls:
        if (found := _some(calls, pick)) is not None:
            found[0][found[1]] = change(found[0][found[1]])
        return calls

    return mutate


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, list):
        return value[:-1]
    return dict(list(value.items())[1:]) if isinstance(value, dict) else 0


def _retyped(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return float(value)
    if isinstance(value, float):
        return int(value)
    if isinstance(value, str):
        return [value]
    return json.dumps(value)


def _restyled(value: Any) -> Any:
    if isinstance(value, str):
        return value.upper().replace(" ", "-") + "."
    if isinstance(value, list):
        return [_restyled(item) for item in value]
    if isinstance(value, dict):
        return {key: _restyled(item) for key, item in value.items()}
    return value


def _without(calls: Calls, pick: int) -> Calls:
    if (found := _some(calls, pick)) is not None:
        del found[0][found[1]]
    return calls


def _with_extra(calls: Calls, pick: int) -> Calls:
    next(iter(calls[pick % len(calls)].values()))["unheard_of"] = 1
    return calls


def _renamed(calls: Calls, pick: int) -> Calls:
    call = calls[pick % len(calls)]
    for name in list(call):
        call[name + "_2"] = call.pop(name)
    return calls


REWRITTEN: dict[str, Callable[[str], Any]] = {
    "quoted": lambda text: f'"{text}"',
    "single quoted": lambda text: f"'{text}'",
    "spaced": lambda text: f" {text} ",
    "opened up": lambda text: text.replace("{", "{ ").replace("[", "[ ").replace(",", " ,  ").replace("(", "( "),
    "unclosed": lambda text: text[:-1],
    "suffixed": lambda text: text + "L",
    "as a float": lambda text: text + ".0f",
    "constructed": lambda text: f"new Array({text.strip('[]')})",
    "not a string": lambda text: [text],
}
"""What is done to every argument of a Java or JavaScript call, as text."""

MUTATIONS: dict[str, Callable[[Calls, int], Calls]] = {
    "gold": lambda calls, pick: calls,
    "other": _change(_other),
    "retyped": _change(_retyped),
    "restyled": _change(_restyled),
    "empty": _change(lambda value: ""),
    "listed": _change(lambda value: [value, value]),
    "without": _without,
    "extra": _with_extra,
    "renamed": _renamed,
    "twice": lambda calls, pick: [*calls, calls[pick % len(calls)]],
    "backwards": lambda calls, pick: calls[::-1],
}
