"""BFCL's function documents as text of a prompt: JSON, XML or docstrings, to the letter as the reference has them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
_PYTHON_NAMES = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"}


def as_json(functions: Sequence[Document]) -> str:
    """The documents as they are."""
    return json.dumps(functions, indent=4)


def as_xml(functions: Sequence[Document]) -> str:
    """One `<function>` a document; attributes lose their commas, and nothing is escaped."""
    return "\n".join(
        f'<function name="{function["name"]}">\n  <desc>{function.get("description", "")}</desc>\n'
        f"{_xml_parameters(function['parameters'], 1)}</function>\n"
        for function in functions
    )


def as_python(functions: Sequence[Document]) -> str:
    """One docstring a document, after its name."""
    return "".join(f"{_docstring(function)}\n\n\n\n\n" for function in functions).removesuffix("\n\n")


def _xml_parameters(schema: Document, depth: int) -> str:
    indent = "  " * depth
    required = schema.get("required")
    inner = "".join(
        _xml_parameter(name, node, required is None or name in required, depth + 1)
        for name, node in schema.get("properties", {}).items()
    )
    return f"{indent}<params>\n{inner}{indent}</params>\n"


def _xml_parameter(name: str, node: Document, required: bool, depth: int) -> str:
    indent = "  " * depth
    kind = node.get("type", "string")
    if "type" in node.get("items", {}):
        kind = f"{kind}[{node['items']['type']}]"
    elif "additionalProperties" in node:
        kind = f"{kind}[{node['additionalProperties'].get('type', 'string')}]"
    attributes = f'name="{name}" type="{kind}" required="{str(required).lower()}"'
    if "default" in node:
        attributes += f' default="{node["default"]!r}"'
    inner = _xml_parameters(node, depth + 1) if "properties" in node else ""
    return (
        f"{indent}<param {attributes.replace(',', '')}>\n{indent}  <desc>{_described(node)}</desc>\n"
        f"{inner}{indent}</param>\n"
    )


def _docstring(function: Document) -> str:
    properties = function.get("parameters", {}).get("properties", {})
    arguments = "".join(_argument(name, node, 2) for name, node in properties.items())
    listed = f"    Args:\n{arguments}" if properties else ""
    description = function.get("description", "")
    return f'# Function: {function["name"]}\n    """\n    {description}\n\n{listed}    """\n'


def _argument(name: str, node: Document, depth: int) -> str:
    default = f", default={node['default']!r}" if "default" in node else ""
    line = f"{'    ' * depth}{name} ({_python_type(node)}{default}): {_described(node)}\n"
    inner = (_argument(child, below, depth + 1) for child, below in node.get("properties", {}).items())
    return line + "".join(inner)


def _python_type(node: Document) -> str:
    kind = str(node.get("type", "string"))
    if kind in ("array", "list", "tuple") and "items" in node:
        return f"list[{_python_type(node['items'])}]"
    if kind in ("object", "dict"):
        values = node.get("additionalProperties")
        return "dict" if values is None else f"dict[str, {_python_type(values)}]"
    return _PYTHON_NAMES.get(kind, kind)


def _described(node: Document) -> str:
    values = f" Enum values: {node['enum']}." if "enum" in node else ""
    return f"{node.get('description', '')}{values}"
