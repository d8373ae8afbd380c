"""Tells calls for their effect from calls for their result, by the text of the test.

A test that calls `f(items)` as a statement and then looks at `items` wants what the call did to them, so the test's
own containers take on what the candidate made of its copies. A test that uses the result must not: in
`assert f(items) == sorted(items)` a candidate that empties `items` would choose what it is compared with.
"""

from __future__ import annotations

import ast
from types import CodeType

MARK = "__called_for_effect__"
"""The builtin of the test's namespace that such calls go through: it gets the function and its arguments."""


class _Marker(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.Expr:
        self.generic_visit(node)
        call = node.value
        if isinstance(call, ast.Call):
            mark = ast.copy_location(ast.Name(MARK, ast.Load()), call)
            node.value = ast.copy_location(ast.Call(mark, [call.func, *call.args], call.keywords), call)
        return node


def compile_test(source: str, filename: str) -> CodeType:
    """Compile a data set's code with its statement calls marked.

    Raises:
        SyntaxError, ValueError: It is no Python.
    """
    return compile_marked(ast.parse(source, filename), filename)


def compile_marked(tree: ast.Module, filename: str) -> CodeType:
    """`compile_test` for what is parsed already; changes the tree."""
    return compile(_Marker().visit(tree), filename, "exec", dont_inherit=True)
