"""Tool calls in the four forms of text that BFCL's format-sensitivity tasks ask for: read strictly, written for gold.

Each form is read by the reference's rules, so a call in another form than the one asked for is none. The text is
hostile: everything here is linear in its length, XML has no document type (nothing can be defined in it) and is bounded
in depth, and literals are read by the same reader as calls.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from sandboxes.verifiers.tool_text import Call, MalformedCall, python_calls, python_literal

FORMS = ("python", "json", "verbose_xml", "concise_xml")
_MAX_DEPTH = 8
_LIST_BEGINS = re.compile(r"\[\s*\{")
_LIST_ENDS = re.compile(r"\}\s*\]")
_KINDS = {str: "string", bool: "boolean", int: "integer", float: "float", list: "array", tuple: "tuple", dict: "dict"}


def read(text: str, form: str, *, tagged: bool) -> list[Call]:
    """The calls of a text.

    Args:
        text: A completion without its reasoning.
        form: One of FORMS.
        tagged: Whether they must stand between TOOLCALL tags.

    Raises:
        MalformedCall: They do not stand there in this form.
    """
    text = text.strip("`\n ")
    if tagged:
        text = _between(text, "TOOLCALL").strip()
    return _READERS[form](text)


def write(calls: Sequence[Call], form: str, *, tagged: bool) -> str:
    """Calls as a model is asked to write them."""
    text = _WRITERS[form](calls)
    return f"<TOOLCALL>{text}</TOOLCALL>" if tagged else text


def _read_python(text: str) -> list[Call]:
    text = text.strip("'")
    calls = python_calls(text if text.startswith("[") else f"[{text}]")
    if not calls:
        raise MalformedCall("no list of calls in Python's form")
    return calls


def _read_json(text: str) -> list[Call]:
    begin = _LIST_BEGINS.search(text)
    ends = [found.end() for found in _LIST_ENDS.finditer(text)]
    if begin is None or not ends:
        raise MalformedCall("no list of calls in JSON")
    try:
        items = json.loads(text[begin.start() : ends[-1]])
        return [_call(item["function"], item["parameters"]) for item in items]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MalformedCall(f"no list of calls in JSON: {error}") from None


def _read_verbose(text: str) -> list[Call]:
    return _read_xml(text, lambda function: function.iterfind("params/param"), lambda node: node.get("value", ""))


def _read_concise(text: str) -> list[Call]:
    return _read_xml(text, lambda function: function.iterfind("param"), lambda node: (node.text or "").strip())


def _read_xml(text: str, parameters: Callable[[ET.Element], Any], value: Callable[[ET.Element], str]) -> list[Call]:
    calls = []
    for function in _tree(text).iterfind("function"):
        arguments = {node.get("name"): _typed(value(node), node.get("type", "string")) for node in parameters(function)}
        calls.append(_call(function.get("name"), arguments))
    return calls


def _tree(text: str) -> ET.Element:
    try:
        root = ET.fromstring(f"<functions>{_between(text, 'functions')}</functions>")
    except ET.ParseError as error:
        raise MalformedCall(f"not readable as XML: {error}") from None
    level = [root]
    for _ in range(_MAX_DEPTH):
        level = [child for node in level for child in node]
        if not level:
            return root
    raise MalformedCall(f"XML nested deeper than {_MAX_DEPTH}")


def _between(text: str, tag: str) -> str:
    """What stands between the first opening tag and the closing one that comes next."""
    _, opening, rest = text.partition(f"<{tag}>")
    inner, closing, _ = rest.partition(f"</{tag}>")
    if not (opening and closing):
        raise MalformedCall(f"no <{tag}> tag")
    return inner


def _typed(text: str, kind: str) -> Any:
    try:
        if kind in ("integer", "float"):
            return int(text) if kind == "integer" else float(text)
    except ValueError:
        raise MalformedCall(f"{text[:80]!r} is no {kind}") from None
    if kind == "boolean":
        return text.lower() == "true"
    if kind == "null":
        return None
    return python_literal(text) if kind in ("array", "tuple", "object", "dict") else text


def _call(name: Any, arguments: Any) -> Call:
    if not (isinstance(name, str) and isinstance(arguments, dict) and all(isinstance(key, str) for key in arguments)):
        raise MalformedCall("a call has a name, and parameters by name")
    return Call(name, arguments)


def _write_python(calls: Sequence[Call]) -> str:
    written = (
        f"{call.name}({', '.join(f'{key}={value!r}' for key, value in call.arguments.items())})" for call in calls
    )
    return f"[{', '.join(written)}]"


def _write_json(calls: Sequence[Call]) -> str:
    items = [{"function": call.name, "parameters": call.arguments} for call in calls]
    return f"```json\n{json.dumps(items, ensure_ascii=False)}\n```"


def _write_verbose(calls: Sequence[Call]) -> str:
    def parameters(arguments: Mapping[str, Any]) -> str:
        nodes = (
            f"<param name={quoteattr(key)} value={quoteattr(_text(value))} type={quoteattr(_kind(value))}/>"
            for key, value in arguments.items()
        )
        return f"<params>{''.join(nodes)}</params>"

    return _write_xml(calls, parameters)


def _write_concise(calls: Sequence[Call]) -> str:
    def parameters(arguments: Mapping[str, Any]) -> str:
        return "".join(
            f"<param name={quoteattr(key)} type={quoteattr(_kind(value))}>{escape(_text(value))}</param>"
            for key, value in arguments.items()
        )

    return _write_xml(calls, parameters)


def _write_xml(calls: Sequence[Call], parameters: Callable[[Mapping[str, Any]], str]) -> str:
    functions = (f"<function name={quoteattr(call.name)}>{parameters(call.arguments)}</function>" for call in calls)
    return f"<functions>{''.join(functions)}</functions>"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "null")


_READERS = {"python": _read_python, "json": _read_json, "verbose_xml": _read_verbose, "concise_xml": _read_concise}
_WRITERS = {"python": _write_python, "json": _write_json, "verbose_xml": _write_verbose, "concise_xml": _write_concise}
