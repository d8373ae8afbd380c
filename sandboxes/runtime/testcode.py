"""Compiles a data set's tests: without their own runner, and with assertions that cannot be replaced from outside."""

from __future__ import annotations

import ast
import warnings
from types import CodeType
from typing import Any

TEST_FILE = "test.py"
_MARK = "\0bound:"


def parse(source: str) -> ast.Module:
    """The tree of the tests less the statements that would run them and leave: `unittest.main()`, `sys.exit()`.

    Raises:
        SyntaxError, ValueError: It is no Python.
    """
    tree = ast.parse(source, TEST_FILE)
    tree.body = [statement for statement in tree.body if not _runs_and_leaves(statement)]
    return tree


def _runs_and_leaves(statement: ast.stmt) -> bool:
    match statement:
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__")), body=body, orelse=[]):
            return all(_runs_and_leaves(inner) for inner in body)
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="unittest"), attr="main"))):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="sys"), attr="exit"), args=args)):
            return all(isinstance(arg, ast.Constant) and not arg.value for arg in args)
        case ast.Expr(value=ast.Call(func=ast.Name(id="exit" | "quit"), args=args)):
            return all(isinstance(arg, ast.Constant) and not arg.value for arg in args)
    return False


class _Binder(ast.NodeTransformer):
    """Turns `self.assertEqual(a, b)` into a call of a constant, for every assertion that the tests do not define."""

    def __init__(self, methods: dict[str, Any], own: set[str]) -> None:
        self.names = methods.keys() - own

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        match node.func:
            case ast.Attribute(value=ast.Name(id="self") as me, attr=name) if name in self.names:
                function = ast.copy_location(ast.Constant(_MARK + name), node.func)
                return ast.copy_location(ast.Call(function, [me, *node.args], node.keywords), node)
        return node


def compile_bound(tree: ast.Module, methods: dict[str, Any]) -> CodeType:
    """Compile tests so that they call the given functions themselves, and not what a name stands for by then.

    Args:
        tree: Of the tests; changed.
        methods: Name to function of the assertions of `unittest.TestCase`.
    """
    own = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    bound = _Binder(methods, own).visit(tree)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 'str' object is not callable
        return _with(compile(bound, TEST_FILE, "exec", dont_inherit=True), methods)


def _with(code: CodeType, methods: dict[str, Any]) -> CodeType:
    consts: list[Any] = []
    for const in code.co_consts:
        if isinstance(const, CodeType):
            const = _with(const, methods)
        elif isinstance(const, str) and const.startswith(_MARK):
            const = methods.get(const[len(_MARK) :], const)
        consts.append(const)
    return code.replace(co_consts=tuple(consts))
