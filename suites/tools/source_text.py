"""Possible answers of BFCL's Java and JavaScript tasks as the source text that a model would give for them.

The inverse of `sandboxes.verifiers.foreign_values`, for values that the data set has. Standard library only: the
parity recorder runs it beside the reference.
"""

from __future__ import annotations

from typing import Any

_LISTS = frozenset({"Array", "ArrayList", "array"})


def source_text(value: Any, declared: str, nested: str | None, syntax: str) -> str:
    """One argument as text.

    Args:
        value: A possible value, its fields already chosen.
        declared: The parameter's type.
        nested: The type of its items, where it is a list.
        syntax: `java` or `javascript`.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        items = [_item(item, declared, nested, syntax) for item in value]
        if syntax == "javascript":
            return f"[{', '.join(items)}]"
        listed = ", ".join(items)
        if declared == "ArrayList":
            return f"new ArrayList<>(Arrays.asList({listed}))" if items else "new ArrayList<>()"
        return f"new {nested or 'Object'}[]{{{listed}}}"
    if isinstance(value, dict):
        words = {key: _word(item, syntax) for key, item in value.items()}
        if syntax == "javascript":
            return "{" + ", ".join(f'"{key}": {word}' for key, word in words.items()) + "}"
        if not words:
            return "new HashMap<>()"
        return "new HashMap<>() {{ " + " ".join(f'put("{key}", {word});' for key, word in words.items()) + " }}"
    if isinstance(value, (int, float)):
        suffix = {"long": "L", "float": "f" if syntax == "java" else "", "Bigint": "n"}.get(declared, "")
        return f"{value!r}{suffix}"
    return str(value)


def _item(value: Any, declared: str, nested: str | None, syntax: str) -> str:
    """An item of a list. An array of Java strings keeps what quotes there are; all others lose them when read."""
    if isinstance(value, str):
        return value if declared == "Array" else f'"{value}"'
    if isinstance(value, (list, dict)):
        return source_text(value, "array" if isinstance(value, list) else "dict", None, syntax)
    return source_text(value, nested or "", None, syntax)


def _word(value: Any, syntax: str) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return source_text(value, "Array" if syntax == "java" else "array", None, syntax)
