"""BFCL's function documents as tools in the OpenAI form: JSON schema's type names instead of Python's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": "string"}
"""`any` is a string to the reference's AST rule, so that is what a model is told."""
_SPELLED = {"java": "Java", "javascript": "JavaScript"}
_NOT_SCHEMA = frozenset({"optional"})


def openai_tool(function: Mapping[str, Any], *, syntax: str = "python") -> dict[str, Any]:
    """`{"type": "function", "function": {"name", "description", "parameters"}}` of one document.

    Args:
        function: The document.
        syntax: `java` and `javascript` functions take every argument as a string of source text, which is said of each.
    """
    parameters = function["parameters"]
    if syntax != "python":
        properties = {name: _in_source(node, _SPELLED[syntax]) for name, node in parameters["properties"].items()}
        parameters = {**parameters, "properties": properties}
    return {
        "type": "function",
        "function": {
            "name": function["name"],
            "description": function.get("description", ""),
            "parameters": _schema(parameters),
        },
    }


def _in_source(node: Mapping[str, Any], language: str) -> dict[str, Any]:
    kind = "any type" if node["type"] == "any" else f"type {node['type']}"
    said = f"{node.get('description', '')} Given as a string: a {language} expression of {kind}."
    if "items" in node:
        said += f" Its items are of type {node['items'].get('type', 'any')}."
    if "properties" in node:
        said += f" Its entries: {json.dumps(node['properties'], ensure_ascii=False)}."
    return {"type": "string", "description": said.strip()}


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
