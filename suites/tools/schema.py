"""BFCL's function documents as tools in the OpenAI form: JSON schema's type names instead of Python's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": "string"}
"""`any` is a string to the reference's AST rule, so that is what a model is told."""
_NOT_SCHEMA = frozenset({"optional"})


def openai_tool(function: Mapping[str, Any]) -> dict[str, Any]:
    """`{"type": "function", "function": {"name", "description", "parameters"}}` of one document."""
    return {
        "type": "function",
        "function": {
            "name": function["name"],
            "description": function.get("description", ""),
            "parameters": _schema(function["parameters"]),
        },
    }


def _schema(node: Mapping[str, Any]) -> dict[str, Any]:
    """One schema node. Only `properties`, `items` and `additionalProperties` hold further nodes.

    What stands under `properties` is named by the function's author: a parameter called `type` or `optional` is no
    keyword.
    """
    converted: dict[str, Any] = {}
    for key, value in node.items():
        if key in _NOT_SCHEMA:
            continue
        if key == "type" and isinstance(value, str):
            converted[key] = _TYPES.get(value, value)
        elif key == "properties" and isinstance(value, Mapping):
            converted[key] = {name: _schema(child) for name, child in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, Mapping):
            converted[key] = _schema(value)
        else:
            converted[key] = value
    if converted.get("type") == "array" and "items" not in converted:
        converted["items"] = {}  # some servers refuse arrays without it
    return converted
