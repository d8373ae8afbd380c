"""Wrong and odd variants of a solution, the same every time. Standard library only: EvalPlus's environment runs it too.

`op*` change one operator, comparison or constant; the others keep the algorithm and change what it returns: nothing,
lists for tuples and tuples for lists, floats for ints, floats a little off, booleans for 0 and 1. The last ones are
where the rules of comparison are told apart.
"""

from __future__ import annotations

import ast
import copy
import hashlib

_SWAPS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}

_CHANGES = {
    "none": "None",
    "swapped": "_swap(value)",
    "floated": "_float(value)",
    "nudged": "_nudge(value, 1e-8)",
    "pushed": "_nudge(value, 1e-3)",
    "truth": "bool(value) if type(value) is int and value in (0, 1) else value",
}

_HELPERS = """
def _swap(value):
    if isinstance(value, (list, tuple)):
        return (tuple if isinstance(value, list) else list)(value)
    return value

def _float(value):
    if isinstance(value, (list, tuple)):
        return type(value)(_float(item) for item in value)
    return float(value) if type(value) is int and abs(value) < 2**53 else value

def _nudge(value, by):
    if isinstance(value, (list, tuple)):
        return type(value)(_nudge(item, by) for item in value)
    return value * (1 + by) + by if isinstance(value, float) else value
"""


def variants(program: str, entry_point: str) -> dict[str, str]:
    """Name → program. `gold` is the program itself."""
    found = {"gold": program}
    for number, changed in enumerate(_operators(program)[:2]):
        found[f"op{number}"] = changed
    for name, returned in _CHANGES.items():
        found[name] = (
            f"{program}\n{_HELPERS}\n_solution = {entry_point}\n\ndef {entry_point}(*arguments):\n"
            f"    value = _solution(*arguments)\n    return {returned}\n"
        )
    return found


def _operators(program: str) -> list[str]:
    """All programs with one operator or constant changed, in an order of their own for each program."""
    tree = ast.parse(program)
    sites = [number for number, node in enumerate(ast.walk(tree)) if _site(node)]
    sites.sort(key=lambda number: hashlib.sha256(f"{program}{number}".encode()).digest())
    changed = []
    for site in sites:
        copied = copy.deepcopy(tree)
        node = next(node for number, node in enumerate(ast.walk(copied)) if number == site)
        _change(node)
        changed.append(ast.unparse(copied))
    return changed


def _site(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare):
        return type(node.ops[0]) in _SWAPS
    if isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)):
        return type(node.op) in _SWAPS
    return isinstance(node, ast.Constant) and type(node.value) is int


def _change(node: ast.AST) -> None:
    if isinstance(node, ast.Compare):
        node.ops[0] = _SWAPS[type(node.ops[0])]()  # type: ignore[assignment]
    elif isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)):
        node.op = _SWAPS[type(node.op)]()  # type: ignore[assignment]
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        node.value += 1
