"""Which calls a data-set test is certain to make, read from its text, so that they can be put to the candidate at once.

Only calls with literal arguments in code that is executed unconditionally and in order: the straight line from the
test's beginning. From the first place where the candidate is used in any other way, the judge asks call by call. A
wrong guess here costs a round trip and changes no verdict: the judge compares each request with what it really asks.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sandboxes.runtime.codec import CodecError, encode
from sandboxes.test_cases import Cases

MAX_CALLS = 2000


class _Unsure(Exception):
    """Beyond this point nothing is certain."""


@lru_cache(maxsize=2048)
def of_check(test: str, entry_point: str) -> tuple[bytes, ...]:
    """Requests of HumanEval's form: the calls of the first parameter of `check`."""
    tree = _parsed(test)
    if tree is None:
        return ()
    checks = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "check"]
    if len(checks) != 1 or not checks[0].args.args:
        return ()
    return tuple(_requests(checks[0].body, {checks[0].args.args[0].arg: entry_point, entry_point: entry_point}))


@lru_cache(maxsize=2048)
def of_asserts(tests: tuple[str, ...], setup: str) -> tuple[tuple[bytes, ...], ...]:
    """Requests of MBPP's form, for each test: names that neither the setup nor the builtins have."""
    before = _parsed(setup)
    if before is None or any(isinstance(n, ast.ImportFrom) and n.names[0].name == "*" for n in ast.walk(before)):
        return ((),) * len(tests)
    taken = set(vars(builtins)) | {n.id for n in ast.walk(before) if isinstance(n, ast.Name)}
    for node in ast.walk(before):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            taken.add(node.name)
        elif isinstance(node, ast.alias):
            taken.add((node.asname or node.name).split(".")[0])
    found = []
    for test in tests:
        tree = _parsed(test)
        names = set() if tree is None else {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} - taken
        found.append(tuple(_requests(tree.body, {n: n for n in names}) if tree is not None else ()))
    return tuple(found)


@lru_cache(maxsize=2048)
def of_unittest(test: str, cases: Cases, candidate: str) -> tuple[tuple[bytes, ...], ...]:
    """Requests of a test case's form, for each test; none where something else than its lines calls the candidate."""
    tree = _parsed(test)
    classes = {} if tree is None else {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}
    names = {candidate: candidate}
    found = []
    for name, methods in cases:
        own = {n.name: n for n in classes[name].body if isinstance(n, ast.FunctionDef)} if name in classes else {}
        fixtures = [node for key, node in own.items() if not key.startswith("test")]
        quiet = not any(_mentions(node, names) for node in fixtures)
        for method in methods:
            plain = quiet and method in own and not own[method].decorator_list
            found.append(tuple(_requests(own[method].body, names)) if plain else ())
    return tuple(found)


def grouped(
    groups: Sequence[Sequence[bytes]], records: Sequence[tuple[bytes, bytes]]
) -> list[list[tuple[bytes, bytes, bytes]]]:
    """Each group's requests with the records that answer them; fewer where there are no more records."""
    pairs = iter(zip((raw for group in groups for raw in group), records, strict=False))
    return [[(raw, *record) for _, (raw, record) in zip(group, pairs, strict=False)] for group in groups]


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _requests(body: list[ast.stmt], names: dict[str, str]) -> list[bytes]:
    found: list[bytes] = []
    try:
        for statement in body:
            if not _mentions(statement, names):
                if isinstance(statement, (ast.Return, ast.Raise)):
                    break
                continue
            match statement:
                case ast.Assert(test=expression, msg=None) | ast.Expr(value=expression):
                    _walk(expression, names, found)
                case ast.Assert(test=expression, msg=message) if message is not None and not _mentions(message, names):
                    _walk(expression, names, found)
                case ast.With(items=items, body=[ast.Expr(value=expression) | ast.Assign(value=expression)]) if not any(
                    _mentions(item, names) for item in items
                ):
                    _walk(expression, names, found)
                case ast.Assign(value=expression, targets=targets) if not any(_mentions(t, names) for t in targets):
                    _walk(expression, names, found)
                case _:
                    break
    except _Unsure:
        pass
    return found[:MAX_CALLS]


def _mentions(node: ast.AST, names: dict[str, str]) -> bool:
    return any(isinstance(n, ast.Name) and n.id in names for n in ast.walk(node))


def _walk(node: ast.expr, names: dict[str, str], found: list[bytes]) -> None:
    """Collect the calls of an expression in the order of their evaluation.

    Raises:
        _Unsure: The candidate is used where that depends on something, or not called with literals.
    """
    if not _mentions(node, names):
        return
    match node:
        case ast.Call(func=ast.Name(id=name)) if name in names:
            found.append(_request(node, names[name]))
        case ast.Call(func=function, args=arguments, keywords=keywords):
            for part in (function, *arguments, *(k.value for k in keywords)):
                _walk(part, names, found)
        case ast.Compare(left=left, comparators=[first, *others]):
            _walk(left, names, found)
            _walk(first, names, found)
            if any(_mentions(other, names) for other in others):
                raise _Unsure
        case ast.BoolOp(values=[first, *others]):
            _walk(first, names, found)
            if any(_mentions(other, names) for other in others):
                raise _Unsure
        case ast.BinOp(left=left, right=right):
            _walk(left, names, found)
            _walk(right, names, found)
        case ast.UnaryOp(operand=operand):
            _walk(operand, names, found)
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
            for part in parts:
                _walk(part, names, found)
        case ast.Attribute(value=value):
            _walk(value, names, found)
        case ast.Subscript(value=value, slice=index):
            _walk(value, names, found)
            _walk(index, names, found)
        case _:
            raise _Unsure


def _request(node: ast.Call, target: str) -> bytes:
    try:
        arguments = tuple(ast.literal_eval(argument) for argument in node.args)
        keywords: dict[str, Any] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise _Unsure
            keywords[keyword.arg] = ast.literal_eval(keyword.value)
        return encode((target, arguments, keywords, ()))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, CodecError):
        raise _Unsure from None
