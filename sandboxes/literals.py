"""Python literals as trusted data: the `calls_py` and `expected_py` of contract 3. Parsed, never evaluated."""

from __future__ import annotations

import ast
import sys
from typing import Any

MAX_DEPTH = 150
"""CPython's own tokenizer refuses 200 open brackets."""


class LiteralError(ValueError):
    """The text is no such literal; the message names the field and the place."""


def parse_list(text: str, field: str) -> list[Any]:
    """The list that a literal spells, where the names `inf`, `nan`, `set()` and `frozenset(...)` may stand too.

    Args:
        text: One Python expression.
        field: How error messages call it.

    Raises:
        LiteralError: It is anything else.
    """
    value = _value(_tree(text, field).body, field, 0)
    if type(value) is not list:
        raise LiteralError(f"{field}: a literal of a list is wanted, this is one of type {type(value).__name__}")
    return value


def _tree(text: str, field: str) -> ast.Expression:
    # An int of more digits than the interpreter converts by default is data here; the limit is a process's, so it is
    # lifted for just this call.
    digits = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return ast.parse(text.strip(), mode="eval")
    except SyntaxError as error:
        where = f" (line {error.lineno}, column {error.offset})" if error.lineno else ""
        raise LiteralError(f"{field}: not a Python literal: {error.msg}{where}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise LiteralError(f"{field}: not a Python literal: {error or 'nested too deeply'}") from None
    finally:
        sys.set_int_max_str_digits(digits)


def _value(node: ast.expr, field: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise LiteralError(f"{field}: nested deeper than {MAX_DEPTH}")
    match node:
        case ast.Constant(value=value) if value is not Ellipsis:
            return value
        case ast.List(elts=items):
            return [_value(item, field, depth + 1) for item in items]
        case ast.Tuple(elts=items):
            return tuple([_value(item, field, depth + 1) for item in items])
        case ast.Set(elts=items):
            return _hashed(set, [_value(item, field, depth + 1) for item in items], node, field)
        case ast.Dict(keys=keys, values=values) if None not in keys:
            pairs = [
                (_value(k, field, depth + 1), _value(v, field, depth + 1))
                for k, v in zip(keys, values, strict=True)
                if k is not None
            ]
            return _hashed(dict, pairs, node, field)
        case ast.Name(id="inf" | "nan" as name):
            return float(name)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            number = _number(_value(operand, field, depth + 1), node, field)
            return -number if isinstance(sign, ast.USub) else +number
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as sign, right=right):
            real = _number(_value(left, field, depth + 1), node, field)
            imaginary = _number(_value(right, field, depth + 1), node, field)
            if isinstance(real, complex) or not isinstance(imaginary, complex):
                raise _refused(node, field)
            return real + imaginary if isinstance(sign, ast.Add) else real - imaginary
        case ast.Call(func=ast.Name(id="set" | "frozenset" as name), args=arguments, keywords=[]) if len(arguments) < 2:
            made = set if name == "set" else frozenset
            if not arguments:
                return made()
            items = _value(arguments[0], field, depth + 1)
            if not isinstance(items, (list, tuple, set, frozenset)):
                raise _refused(node, field)
            return _hashed(made, items, node, field)
    raise _refused(node, field)


def _number(value: Any, node: ast.expr, field: str) -> Any:
    if type(value) not in (int, float, complex):
        raise _refused(node, field)
    return value


def _hashed(make: Any, items: Any, node: ast.expr, field: str) -> Any:
    try:
        return make(items)
    except TypeError as error:
        raise LiteralError(f"{field}: {error} (line {node.lineno}, column {node.col_offset + 1})") from None


def _refused(node: ast.expr, field: str) -> LiteralError:
    kind = type(node).__name__
    name = f" {node.id!r}" if isinstance(node, ast.Name) else ""
    return LiteralError(f"{field}: {kind}{name} is no literal (line {node.lineno}, column {node.col_offset + 1})")
