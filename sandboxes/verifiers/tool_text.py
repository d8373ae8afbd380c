"""Tool calls out of text: `<tool_call>` blocks, bare JSON, and BFCL's list of Python calls.

A reader of its own for the Python form: the text is hostile, so neither `eval` nor CPython's parser (whose time and
stack some inputs exhaust) sees it. JSON with duplicate keys, NaN or infinities is malformed: two readers would not
agree on what was called.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

MAX_DEPTH = 32
"""Nesting of arguments that is read."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call."""

    name: str
    arguments: Mapping[str, Any]


class MalformedCall(ValueError):
    """The text tries to call something, but not in a form that can be read."""


def calls_in(completion: str | list[dict[str, Any]]) -> list[Call]:
    """The calls of a completion, in order; none where the text is prose.

    Args:
        completion: Text with `<tool_call>{"name": …, "arguments": …}</tool_call>` blocks, or text that as a whole is
            such an object, a list of them, or a Python list of calls; or calls that a server has parsed already.

    Raises:
        MalformedCall: There is a `<tool_call>` or a parsed call that cannot be read.
    """
    if not isinstance(completion, str):
        return [_call(item) for item in completion]
    if "<tool_call>" in completion:
        return [call for block in _blocks(completion) for call in _json_calls(_json(block))]
    text = completion.strip()
    if (fenced := _fenced(text)) is not None:
        text = fenced
    if text.startswith(("{", "[")) and text.endswith(("}", "]")):
        try:
            value = _json(text)
        except MalformedCall:
            return python_calls(text)
        return _json_calls(value) if _is_calls(value) else []
    return python_calls(text) if re.match(r"[A-Za-z_][\w.]*\(", text) else []


def _blocks(text: str) -> list[str]:
    """What stands in the blocks; a last one may lack its end, which a stop string takes away."""
    blocks = []
    for piece in text.split("<tool_call>")[1:]:
        blocks.append(piece.split("</tool_call>", 1)[0].strip())
    return blocks


def _fenced(text: str) -> str | None:
    if not (text.startswith("```") and text.endswith("```") and "\n" in text):
        return None
    return text[text.index("\n") : -3].strip()


def _json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedCall(f"not readable as JSON: {str(error)[:120]}") from None


def _require_shallow(value: Any) -> None:
    """Refuse nesting that comparing or printing could not go through."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for item in level
            if isinstance(item, (dict, list, tuple))
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise MalformedCall(f"arguments are nested deeper than {MAX_DEPTH}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return made


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _is_calls(value: Any) -> bool:
    items = value if isinstance(value, list) else [value]
    return all(isinstance(item, dict) and ("name" in item or "function" in item) for item in items)


def _json_calls(value: Any) -> list[Call]:
    return [_call(item) for item in (value if isinstance(value, list) else [value])]


def _call(item: Any) -> Call:
    """One call from `{"name", "arguments"}`, or from OpenAI's `{"function": {…}}` around it."""
    if isinstance(item, dict) and isinstance(item.get("function"), dict):
        item = item["function"]
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise MalformedCall("a call must be an object with a name")
    arguments = item.get("arguments", {})
    if isinstance(arguments, str):
        arguments = _json(arguments) if arguments.strip() else {}
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise MalformedCall(f"the arguments of {item['name'][:80]!r} must be an object")
    _require_shallow(arguments)
    return Call(item["name"], arguments)


def python_calls(text: str) -> list[Call]:
    """Calls of `[f(a=1), m.g(b="x")]` or of one bare call; none where the text is not wholly of this form."""
    try:
        return _PythonReader(text).calls()
    except MalformedCall:
        return []


def python_literal(text: str) -> Any:
    """The value of a text that is one literal of Python's.

    Raises:
        MalformedCall: It is none, or nested too deep.
    """
    return _PythonReader(text).literal()


_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9][0-9_]*(?:\.[0-9]*)?(?:[eE][-+]?[0-9]{1,4})?|\.[0-9]+(?:[eE][-+]?[0-9]{1,4})?)"
    r"|(?P<string>[rRbBuU]{0,2}(?:\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'))"
    r"|(?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)*)|(?P<mark>[()\[\]{},:=+-])|(?P<end>\Z))",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\n": ""}
_WORDS = {"True": True, "False": False, "None": None}


def _string(token: str) -> str:
    """The value of one string literal."""
    start = min(token.find(quote) for quote in "\"'" if quote in token)
    prefix, body = token[:start].lower(), token[start + 1 : -1]
    if "b" in prefix:
        raise MalformedCall("bytes are no argument")
    return body if "r" in prefix else _ESCAPE.sub(_unescaped, body)


def _unescaped(match: re.Match[str]) -> str:
    code = match.group(1)
    if code[0] in "xu" and len(code) > 1:
        return chr(int(code[1:], 16))
    if code[0] in "01234567":
        return chr(int(code, 8))
    return _ESCAPES.get(code, code if code in "\\'\"" else "\\" + code)


class _PythonReader:
    """Recursive descent over calls with keyword arguments that are literals, to a bounded depth."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._kind = ""
        self._token = ""
        self._next()

    def calls(self) -> list[Call]:
        calls: list[Call] = []
        if self._token == "[":
            self._next()
            while self._token != "]":
                calls.append(self._call(0))
                if self._token != "]":
                    self._take(",")
            self._next()
        else:
            calls.append(self._call(0))
        if self._kind != "end":
            raise MalformedCall("text after the calls")
        return calls

    def literal(self) -> Any:
        value = self._value(0)
        if self._kind != "end":
            raise MalformedCall("text after the value")
        return value

    def _next(self) -> None:
        found = _TOKEN.match(self._text, self._at)
        if found is None:
            raise MalformedCall(f"unexpected character at {self._at}")
        self._kind = found.lastgroup or ""
        self._token = found.group(self._kind)
        self._at = found.end()

    def _take(self, mark: str) -> None:
        if self._kind != "mark" or self._token != mark:
            raise MalformedCall(f"expected {mark!r} before position {self._at}")
        self._next()

    def _call(self, depth: int) -> Call:
        if self._kind != "name":
            raise MalformedCall("a call begins with a name")
        name = self._token
        self._next()
        return Call(name, self._arguments(depth))

    def _arguments(self, depth: int) -> dict[str, Any]:
        self._take("(")
        arguments: dict[str, Any] = {}
        while self._token != ")" or self._kind != "mark":
            if self._kind != "name" or self._token in arguments:
                raise MalformedCall("arguments are given by keyword, each once")
            key = self._token
            self._next()
            self._take("=")
            arguments[key] = self._value(depth + 1)
            if not (self._kind == "mark" and self._token == ")"):
                self._take(",")
        self._next()
        return arguments

    def _value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise MalformedCall(f"arguments are nested deeper than {MAX_DEPTH}")
        kind, token = self._kind, self._token
        if kind == "number":
            self._next()
            return self._number(token)
        if kind == "string":
            return self._strings()
        if kind == "name":
            return self._word(depth)
        if kind == "mark" and token in "+-":
            self._next()
            if self._kind != "number":
                raise MalformedCall("a sign stands before a number")
            value = self._value(depth + 1)
            return -value if token == "-" else value
        if kind == "mark" and token in "[(":
            return self._items("]" if token == "[" else ")", depth)
        if kind == "mark" and token == "{":
            return self._dict(depth)
        raise MalformedCall(f"unexpected {token[:20]!r}")

    @staticmethod
    def _number(token: str) -> int | float:
        if len(token) > 400:
            raise MalformedCall("a number has more than 400 digits")
        try:
            return float(token) if set(token) & set(".eE") else int(token)
        except ValueError:
            raise MalformedCall("a number is malformed") from None

    def _strings(self) -> str:
        parts = []
        while self._kind == "string":
            parts.append(_string(self._token))
            self._next()
        return "".join(parts)

    def _word(self, depth: int) -> Any:
        """A constant; a name (the rule knows variables as strings); or a call in a call, as the rule writes it."""
        word = self._token
        self._next()
        if self._kind == "mark" and self._token == "(":
            arguments = self._arguments(depth)
            return {word: arguments} if arguments else f"{word}()"
        return _WORDS.get(word, word)

    def _items(self, end: str, depth: int) -> Any:
        self._next()
        items = []
        comma = False
        while not (self._kind == "mark" and self._token == end):
            items.append(self._value(depth + 1))
            comma = self._kind == "mark" and self._token == ","
            if comma:
                self._next()
            elif not (self._kind == "mark" and self._token == end):
                raise MalformedCall("items are parted by commas")
        self._next()
        if end == "]":
            return items
        return items[0] if len(items) == 1 and not comma else tuple(items)

    def _dict(self, depth: int) -> dict[Any, Any]:
        self._next()
        made: dict[Any, Any] = {}
        while not (self._kind == "mark" and self._token == "}"):
            key = self._value(depth + 1)
            if not isinstance(key, (str, int, float)) or key in made:
                raise MalformedCall("keys are strings or numbers, each once")
            self._take(":")
            made[key] = self._value(depth + 1)
            if not (self._kind == "mark" and self._token == "}"):
                self._take(",")
        self._next()
        return made
