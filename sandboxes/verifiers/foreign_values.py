"""Argument values written in Java or JavaScript, as BFCL converts them (reference: bfcl-eval 2026.3.23).

A model that calls a Java or JavaScript function gives each argument as a string of source text. These converters read
such a string as the declared type: numbers with their suffixes, arrays, lists, maps and objects of literals. Text that
is not of the type stays a string, which the AST rule then compares as a variable. Nothing is evaluated, and unlike the
reference's regular expressions nothing here is worse than quadratic in a value of at most `MAX_TEXT` characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

MAX_TEXT: Final = 4096
"""Characters of a value that is read; the longest possible answer of BFCL has a tenth of that."""

JAVA_TYPES: Final[dict[str, type[Any]]] = {
    "byte": int,
    "short": int,
    "integer": int,
    "long": int,
    "float": float,
    "double": float,
    "boolean": bool,
    "char": str,
    "String": str,
    "any": str,
    "Array": list,
    "ArrayList": list,
    "HashMap": dict,
}
"""Set, Hashtable, Queue and Stack are declared by some documents, and converted by nobody: the reference raises."""
JAVASCRIPT_TYPES: Final[dict[str, type[Any]]] = {
    "String": str,
    "integer": int,
    "float": float,
    "Bigint": int,
    "Boolean": bool,
    "dict": dict,
    "array": list,
    "any": str,
}

_INTEGER = re.compile(r"-?\d+$")
_LONG = re.compile(r"-?\d+[lL]$")
_BIGINT = re.compile(r"-?\d+n$")
_DOUBLE = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?$")
_FLOAT = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?[fF]$")
_SIMPLE_FLOAT = re.compile(r"-?\d+(\.\d+)?$")


class NoValue(ValueError):
    """The declared type is one that nobody converts, or the text is too long to be any answer."""


def java_value(text: str, declared: str, nested: str | None = None) -> Any:
    """A Java literal as the declared type; the text itself where it is not of that type.

    Args:
        text: Source text of one argument.
        declared: BFCL's name of the type.
        nested: The type of its items, for arrays and lists.

    Raises:
        NoValue: The type cannot be converted, or the text is too long.
    """
    _require(text, declared, JAVA_TYPES)
    if declared in ("byte", "short", "integer"):
        return int(text) if _INTEGER.match(text) else text
    if declared == "long":
        return int(text.strip()[:-1]) if _LONG.match(text) else text
    if declared == "float":
        return float(text.strip()[:-1]) if _FLOAT.match(text) else text
    if declared == "double":
        return float(text) if _DOUBLE.match(text) else text
    if declared == "boolean":
        return text == "true" if text in ("true", "false") else text
    if declared == "ArrayList":
        return _java_list(text, nested)
    if declared == "Array":
        return _java_array(text, nested)
    return _java_map(text) if declared == "HashMap" else text


def javascript_value(text: str, declared: str, nested: str | None = None) -> Any:
    """A JavaScript literal as the declared type; otherwise as `java_value`."""
    _require(text, declared, JAVASCRIPT_TYPES)
    if declared == "String":
        return text[1:-1] if _quoted(text) else text
    if declared == "integer":
        return int(text) if _INTEGER.match(text) else text
    if declared == "float":
        return float(text) if _SIMPLE_FLOAT.match(text) else text
    if declared == "Bigint":
        return int(text.strip()[:-1]) if _BIGINT.match(text) else text
    if declared == "Boolean":
        return text == "true" if text in ("true", "false") else text
    if declared == "array":
        return _js_array(text.strip(), nested)
    return _js_object(text.strip()) if declared == "dict" else text


def _require(text: str, declared: str, types: dict[str, type[Any]]) -> None:
    if declared not in types:
        raise NoValue(f"values of type {declared!r} are not converted")
    if len(text) > MAX_TEXT:
        raise NoValue(f"a value has {len(text):,} characters; at most {MAX_TEXT:,} are read")


def _quoted(text: str) -> bool:
    return (text.startswith('"') and text.endswith('"')) or (text.startswith("'") and text.endswith("'"))


def _number(text: str) -> Any:
    """An int, else a float, else the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


# -- Java -------------------------------------------------------------------------------------------------------------


def _java_word(text: str) -> Any:
    """A literal whose type is not declared."""
    if text in ("true", "false"):
        return text == "true"
    if text.startswith('"') and text.endswith('"'):
        return text[1:-1]
    if _LONG.match(text):
        return int(text[:-1])
    return float(text[:-1]) if _FLOAT.match(text) else _number(text)


def _java_item(text: str, nested: str | None) -> Any:
    """An item of a list: quotes of characters and strings are taken off, whatever they are."""
    if nested in ("char", "String"):
        return text[1:-1]
    return java_value(text, nested) if nested else _java_word(text)


def _java_list(text: str, nested: str | None) -> Any:
    of_items = re.search(r"new\s+ArrayList<\w*>\(Arrays\.asList\((.+?)\)\)", text)
    if of_items:
        return [_java_item(item.strip(), nested) for item in of_items[1].split(",")]
    adding = re.search(r"new\s+ArrayList<\w*>\(\)\s*\{\{", text)
    if adding:
        end = text.find("}}", adding.end() + 1)
        if end >= 0:
            added = re.findall(r"add\((.+?)\)", text[adding.end() : end].strip())
            return [_java_item(item.strip(), nested) for item in added]
    return [] if re.search(r"new\s+ArrayList<\w*>\(\)", text) else text


def _java_array(text: str, nested: str | None) -> Any:
    """Unlike a list's, an array's strings keep their quotes: so the reference has it."""
    found = re.search(r"new\s+\w+\[\]\s*\{(.*?)\}", text)
    if not found:
        return text
    items = [item.strip() for item in found[1].split(",") if item.strip()]
    return [java_value(item, nested) if nested else _java_word(item) for item in items]


def _java_map(text: str) -> Any:
    named = re.search(r"new\s+HashMap<", text)
    if not named:
        return text
    filled = re.compile(r">\s*\(\)\s*\{", re.DOTALL).search(text, named.end())
    if filled:
        body = text[filled.end() :].lstrip().removeprefix("{")
        end = body.find("}")
        if end >= 0 or text[filled.end() :].lstrip().startswith("{}"):
            puts = re.findall(r"put\(\"(.*?)\",\s*(.*?)\)", body[: max(end, 0)].strip())
            return {key: _java_word(value.strip()) for key, value in puts}
    return {} if re.compile(r">\s*\(\)").search(text, named.end()) else text


# -- JavaScript -------------------------------------------------------------------------------------------------------


def _js_word(text: str) -> Any:
    text = text.strip()
    if text in ("true", "false"):
        return text == "true"
    return text[1:-1] if _quoted(text) else _number(text)


def _js_array(text: str, nested: str | None) -> Any:
    rows = _js_rows(text, "[", "]") or _js_rows(text, "new Array(", ")")
    if rows is not None:
        return [[_js_word(item) for item in row.split(",")] for row in rows]
    flat = re.match(r"\[(.*?)\]|\bnew\s+Array\((.*?)\)", text)
    if not flat:
        return text
    inside = (flat[1] if flat[1] is not None else flat[2]).strip()
    items = [item.strip() for item in inside.split(",")] if inside else []
    try:
        return [_js_item(item, nested) for item in items]
    except (NoValue, IndexError):
        return text


def _js_item(text: str, nested: str | None) -> Any:
    return javascript_value(text, nested) if nested else _js_word(text)


def _js_rows(text: str, opening: str, closing: str) -> list[str] | None:
    """The rows of an array of arrays, each the text between its brackets; None where it is none."""
    start = re.match(re.escape(opening).replace(r"\ ", r"\s+") + r"\s*(?=\[)", text)
    if not start:
        return None
    rows, at = [], start.end()
    while True:
        row = re.compile(r"\[(.*?)\]\s*").match(text, at)
        if not row:
            return None
        rows.append(row[1].strip())
        if text.startswith(closing, row.end()):
            return rows
        comma = re.compile(r",\s*").match(text, row.end())
        if not comma:
            return None
        at = comma.end()


def _js_object(text: str) -> Any:
    """An object of one level; values may be arrays or, as far as they have one entry, objects."""
    if text == "{}":
        return {}
    found = re.match(r"\{(.*?)\}", text)
    if not found:
        return text
    made: dict[str, Any] = {}
    for key, value in re.findall(r"([^:]+):\s*(.*?)(?:,\s*(?=[^,]+:)|$)", found[1]):
        value = value.strip()
        if value.startswith("[") and value.endswith("]"):
            made[key.strip().strip("'\"")] = _js_array(value, None)
        elif value.startswith("{") and value.endswith("}"):
            made[key.strip().strip("'\"")] = _js_object(value)
        else:
            made[key.strip().strip("'\"")] = _js_word(value.strip("'\""))
    return made


CONVERTERS: Final[dict[str, tuple[dict[str, type[Any]], Callable[[str, str, str | None], Any]]]] = {
    "java": (JAVA_TYPES, java_value),
    "javascript": (JAVASCRIPT_TYPES, javascript_value),
}
"""Syntax → its declared types, and what reads a value."""
NESTED: Final = frozenset({"Array", "ArrayList", "array"})
"""Types whose items' type is declared too."""
