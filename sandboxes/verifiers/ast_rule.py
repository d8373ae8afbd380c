"""BFCL's AST rule: whether calls match possible answers (Patil et al.; reference: bfcl-eval 2026.3.23).

Written to give the reference's verdicts, its oddities included where data sets lean on them: an empty string among the
possible values marks an argument that may be left out; strings are compared without case, spaces and some punctuation;
an integer is accepted where a float is declared, but not the other way round; an argument whose possible values are of
another type than the declared one is a variable and compared as it stands; parallel calls are matched greedily, answer
by answer. Values of Java and JavaScript functions are strings of source text, read by `foreign_values` first. Where the
reference would raise on its own data, the answer is wrong here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sandboxes.verifiers.foreign_values import CONVERTERS, NESTED, NoValue
from sandboxes.verifiers.tool_text import Call

TYPES: Final[dict[str, type[Any]]] = {
    "string": str,
    "integer": int,
    "float": float,
    "number": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "dict": dict,
    "object": dict,
    "any": str,
}
"""Declared types, those of BFCL's documents and of JSON schema."""
_NESTED = frozenset({"array", "tuple"})
_IGNORED = re.compile(r"[ ,./\-_*^]")


class UnknownFunction(ValueError):
    """The possible answers name a function that the tools do not have: the check is at fault."""


def mismatch(
    calls: Sequence[Call],
    possible: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    *,
    ordered: bool,
    syntax: str = "python",
) -> str | None:
    """Why calls do not match the possible answers; None where they do.

    Args:
        calls: What the model called.
        possible: One mapping a call: function name to arguments, each with its list of possible values.
        tools: Function documents, BFCL's or OpenAI's.
        ordered: Whether the calls must come in the order of the possible answers.
        syntax: Language of the functions: in `java` and `javascript`, arguments are strings of source text.

    Raises:
        UnknownFunction: The check contradicts itself.
    """
    wanted = [_document(next(iter(answer)), tools) for answer in possible]
    if len(calls) != len(possible):
        return f"{len(calls)} calls where {len(possible)} are right"
    left = list(calls)
    for answer, document in zip(possible, wanted, strict=True):
        reason: str | None = None
        for index, call in enumerate(left[:1] if ordered else left):
            why = _call_mismatch(call, document, next(iter(answer.values())), syntax)
            if why is None:
                del left[index]
                break
            reason = reason or why
        else:
            return reason or f"no call of {document['name']!r}"
    return None


def function_of(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """A tool's function document, whichever form it is given in."""
    inner = tool.get("function")
    return inner if isinstance(inner, Mapping) else tool


def same_name(called: str, declared: str) -> bool:
    """Whether a call is of a function: many APIs forbid dots in names, and models then write underscores."""
    return called == declared or called == declared.replace(".", "_")


def _document(name: str, tools: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    for tool in tools:
        document = function_of(tool)
        if same_name(name, str(document.get("name"))):
            return document
    raise UnknownFunction(f"answer: function {name!r} is not among the tools")


def _call_mismatch(
    call: Call, document: Mapping[str, Any], possible: Mapping[str, list[Any]], syntax: str
) -> str | None:
    if not same_name(call.name, document["name"]):
        return f"called {call.name[:80]!r}, not {document['name']!r}"
    parameters = document.get("parameters") or {}
    properties = parameters.get("properties") or {}
    for name in parameters.get("required") or ():
        if name not in call.arguments:
            return f"required argument {name!r} is missing"
    for name, value in call.arguments.items():
        if name not in properties or name not in possible:
            return f"unexpected argument {str(name)[:80]!r}"
        if not (_argument_matches if syntax == "python" else _FOREIGN[syntax])(value, properties[name], possible[name]):
            return f"argument {name!r} is {_short(value)}, not one of {_short(possible[name])}"
    for name, values in possible.items():
        if name not in call.arguments and "" not in values:
            return f"argument {name!r} is missing"
    return None


def _argument_matches(value: Any, schema: Mapping[str, Any], possible: list[Any]) -> bool:
    declared = schema.get("type")
    expected = TYPES.get(declared) if isinstance(declared, str) else None
    if expected is None:
        return False
    nested = TYPES.get((schema.get("items") or {}).get("type", "")) if declared in _NESTED else None
    if declared == "tuple" and type(value) is tuple:
        value = list(value)
    if expected is float and type(value) is int:
        try:
            value = float(value)
        except OverflowError:
            return False
    return _value_matches(value, possible, expected, nested)


def _foreign_matcher(syntax: str) -> Callable[[Any, Mapping[str, Any], list[Any]], bool]:
    types, convert = CONVERTERS[syntax]

    def matches(value: Any, schema: Mapping[str, Any], possible: list[Any]) -> bool:
        declared = str(schema.get("type"))
        if declared not in types or not isinstance(value, str):
            return False
        items = str((schema.get("items") or {}).get("type")) if declared in NESTED else None
        nested = types.get(items) if items is not None else None
        if items is not None and nested is None:
            return False
        try:
            return _value_matches(convert(value, declared, items), possible, types[declared], nested)
        except NoValue:
            return False

    return matches


_FOREIGN = {syntax: _foreign_matcher(syntax) for syntax in CONVERTERS}


def _value_matches(value: Any, possible: list[Any], expected: type[Any], nested: type[Any] | None) -> bool:
    fits, is_variable = _type_fits(value, possible, expected, nested)
    if not fits:
        return False
    if not is_variable:
        if expected is dict:
            return _dict_matches(value, possible)
        if expected is list and nested is dict:
            return _dicts_match(value, possible)
        if expected is str:
            return _plain(value) in [_plain(p) for p in possible if isinstance(p, str)]
        if expected is list:
            return [_plain(v) for v in value] in [
                [_plain(v) for v in p] for p in possible if isinstance(p, (list, str))
            ]
    return value in possible


def _type_fits(value: Any, possible: Any, expected: type[Any], nested: type[Any] | None) -> tuple[bool, bool]:
    """Whether the type is right, and whether the value is a variable: of the possible values' type instead."""
    first = next((type(p) for p in possible if p != ""), None) if isinstance(possible, (list, str)) else None
    is_variable = first is not None and first is not expected
    if type(value) is expected:
        if nested is None:
            return True, is_variable
        for option in possible:
            if not isinstance(option, list) or all(_type_fits(item, option, nested, None)[0] for item in value):
                return True, is_variable
        return False, is_variable
    return first is not None and type(value) is first, True


def _dict_matches(value: Mapping[str, Any], possible: list[Any]) -> bool:
    return any(_fields_match(value, option) for option in possible if isinstance(option, dict))


def _fields_match(value: Mapping[str, Any], option: Mapping[str, list[Any]]) -> bool:
    for key, field in value.items():
        if key not in option or not isinstance(option[key], (list, str)):
            return False
        if _plain(field) not in [_plain(p) for p in option[key]]:
            return False
    return all(key in value or "" in values for key, values in option.items())


def _dicts_match(value: list[Any], possible: list[Any]) -> bool:
    """A list of objects: as many, each matching the one at its place."""
    return any(
        len(value) == len(option)
        and all(
            isinstance(v, dict) and isinstance(o, dict) and _fields_match(v, o)
            for v, o in zip(value, option, strict=True)
        )
        for option in possible
        if isinstance(option, (list, str))
    )


def _plain(value: Any) -> Any:
    """Strings without case, spaces and the punctuation that dates and names vary in."""
    return _IGNORED.sub("", value).lower().replace("'", '"') if isinstance(value, str) else value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:100] + "…"
