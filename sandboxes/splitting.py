"""Whether a `unittest` test can be split from the candidate, read from the test's text alone, never from the candidate.

Split means that the tests run in the judge and reach the candidate by calls. That is right where calls are all they do:
where they patch, look into the candidate's own names, share files or global state with it, or ask a result for what
only an object in the arena has, they must share its process. In doubt they share: an honest answer must not fail here.
"""

from __future__ import annotations

import ast
import builtins
import datetime
import decimal
import fractions
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from sandboxes.test_cases import parsed

PURE = frozenset(
    """
    __future__ ast base64 binascii bisect calendar cmath collections copy datetime decimal difflib fractions functools
    heapq html itertools json math numbers operator random re statistics string struct textwrap typing unicodedata
    unittest urllib.parse zlib
    """.split()  # noqa: SIM905
)
"""Modules whose use in a test neither touches what the candidate shares nor makes values that cannot cross, but for
`_UNFIT`."""

_PLAIN = (
    *(str, bytes, bytearray, int, float, complex, bool, list, tuple, dict, set, frozenset, range),
    *(Counter, OrderedDict, deque, decimal.Decimal, fractions.Fraction),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta),
)
_METHODS = frozenset(name for kind in _PLAIN for name in dir(kind) if callable(getattr(kind, name, None)))
_FIELDS = frozenset(name for kind in _PLAIN for name in dir(kind)) - _METHODS
_UNFIT = {
    **dict.fromkeys(("seed", "setstate"), "sets global state"),
    **dict.fromkeys(("open", "input", "print", "globals", "breakpoint"), "touches files or streams"),
    **dict.fromkeys(("eval", "exec", "compile"), "runs text"),
    **dict.fromkeys(("id", "vars", "dir", "callable", "hasattr", "getattr", "setattr"), "looks into objects"),
    **dict.fromkeys(("defaultdict", "namedtuple", "NamedTuple", "Random", "timezone", "tzinfo"), "has such values"),
}
_RAISES = frozenset({"assertRaises", "assertRaisesRegex"})
_STATEFUL = frozenset({"assertLogs", "assertNoLogs", "assertWarns", "assertWarnsRegex"})


class Reason(NamedTuple):
    """Why a test shares the candidate's process: a family, for tables, and what in the test it is."""

    family: str
    detail: str


@lru_cache(maxsize=2048)
def shared_because(test: str) -> Reason | None:
    """The first reason for which these tests must share the candidate's process; None where they can be split."""
    return next(_Reader(parsed(test)).reasons(), None)


@lru_cache(maxsize=2048)
def candidate_names(test: str) -> frozenset[str]:
    """Names that the test uses and nobody but the candidate can have bound."""
    return frozenset(_Reader(parsed(test)).free)


class _Reader:
    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.modules: dict[str, str] = {}
        """Name in the test to the module it stands for, or is taken from."""
        self.defined: set[str] = set()
        bound: set[str] = set()
        used: set[str] = set()
        for node in ast.walk(tree):
            match node:
                case ast.Import(names=names):
                    for alias in names:
                        self.modules[alias.asname or alias.name.split(".")[0]] = alias.name
                case ast.ImportFrom(module=module, names=names):
                    for alias in names:
                        self.modules[alias.asname or alias.name] = module or "."
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    self.defined.add(name)
                case ast.arg(arg=name) | ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                    bound.add(name)
                case ast.Name(id=name, ctx=ast.Load()):
                    used.add(name)
                case ast.Name(id=name):
                    bound.add(name)
        self.used = used
        known = bound | self.defined | set(self.modules) | set(vars(builtins))
        self.free = {name for name in used - known if not name.startswith("__")}
        self.parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}

    def reasons(self) -> Iterator[Reason]:
        """All reasons, the telling ones first."""
        yield from self._imports()
        for node in ast.walk(self.tree):
            match node:
                case ast.Name(id=name) if name in self.free:
                    yield from self._candidate(node)
                case ast.Name(id=name, ctx=ast.Load()) if name in _UNFIT:
                    yield from self._unfit(name)
                case ast.Attribute(attr=name):
                    yield from self._attribute(node)
                case ast.AsyncFunctionDef() | ast.Await() | ast.Global():
                    yield Reason("touches global state", type(node).__name__)
                case ast.Compare(ops=ops, comparators=others):
                    for op, other in zip(ops, others, strict=True):
                        if isinstance(op, (ast.Is, ast.IsNot)) and not isinstance(other, ast.Constant):
                            yield Reason("looks into the candidate", "identity of objects")
                case ast.Call():
                    yield from self._call(node)
        if len(self.free) != 1:  # what it compares with might be the candidate's too
            yield Reason("looks into the candidate", f"uses {len(self.free)} names of it")

    def _imports(self) -> Iterator[Reason]:
        used = {name: module for name, module in self.modules.items() if name in self.used}
        for name, module in used.items():
            if module == "unittest.mock" or name in ("mock", "patch") or module.split(".")[0] == "mock":
                yield Reason("patches", "unittest.mock")
        for name, module in self.modules.items():
            top = module.split(".")[0]
            if top not in sys.stdlib_module_names:
                yield Reason("has values of a library", top)
            elif name in used and module not in PURE:
                yield Reason("shares files, streams or global state", module)

    def _unfit(self, name: str) -> Iterator[Reason]:
        if _UNFIT[name] and (name in self.modules or name in vars(builtins)):
            yield Reason("shares files, streams or global state", name)

    def _candidate(self, node: ast.Name) -> Iterator[Reason]:
        parent = self.parents[node]
        match parent:
            case ast.Call(func=function) if function is node:
                return
            case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=name)) if name in _RAISES:
                return
            case ast.Call(func=ast.Name(id="map" | "filter" | "sorted")):
                return
        yield Reason("looks into the candidate", f"uses {node.id} other than by a call")

    def _attribute(self, node: ast.Attribute) -> Iterator[Reason]:
        name, parent = node.attr, self.parents[node]
        called = isinstance(parent, ast.Call) and parent.func is node
        match node.value:
            case ast.Name(id="self" | "cls") | ast.Call(func=ast.Name(id="super")):
                if name in _STATEFUL:
                    yield Reason("shares files, streams or global state", name)
                return
            case ast.Name(id=base) if base in self.modules:
                if _UNFIT.get(name):
                    yield Reason("shares files, streams or global state", f"{base}.{name}")
                return
            case ast.Name(id=base) if base in self.defined:
                return
        if name == "exception" or name in _FIELDS or (name in _METHODS and called):
            return
        if isinstance(node.value, ast.Attribute) and self._of_module(node.value):
            return
        yield Reason("asks a result for what plain values have not", f".{name}")

    def _of_module(self, node: ast.expr) -> bool:
        while isinstance(node, ast.Attribute):
            node = node.value
        return isinstance(node, ast.Name) and node.id in self.modules

    def _call(self, node: ast.Call) -> Iterator[Reason]:
        match node.func:
            case ast.Attribute(value=ast.Name(id="self"), attr=name) if name in _RAISES:
                for argument in node.args[:1]:
                    kinds = argument.elts if isinstance(argument, ast.Tuple) else [argument]
                    for kind in kinds:
                        found = getattr(builtins, kind.id, None) if isinstance(kind, ast.Name) else None
                        if not (isinstance(found, type) and issubclass(found, Exception)):
                            yield Reason("expects an exception that is no builtin", ast.unparse(kind))
                if len(node.args) > 1:
                    yield from self._arguments([*node.args[2:], *(k.value for k in node.keywords)])
            case ast.Attribute(value=ast.Name(id="self"), attr="assertIs" | "assertIsNot"):
                if not any(isinstance(argument, ast.Constant) for argument in node.args[:2]):
                    yield Reason("looks into the candidate", "identity of objects")
            case ast.Name(id="type") if node.args and isinstance(node.args[0], (ast.GeneratorExp, ast.Lambda)):
                yield Reason("looks into objects", "type of what cannot cross")
            case ast.Name(id=name) if name in self.free:
                yield from self._arguments([*node.args, *(k.value for k in node.keywords)])

    def _arguments(self, arguments: list[ast.expr]) -> Iterator[Reason]:
        for argument in arguments:
            for node in ast.walk(argument):
                match node:
                    case ast.Lambda() | ast.GeneratorExp():
                        yield Reason("passes what cannot cross", type(node).__name__)
                    case ast.Name(id=name) if name in self.defined:
                        yield Reason("passes what cannot cross", name)
                    case ast.Name(id=name) if name in self.modules and not self._is_called(node):
                        yield Reason("passes what cannot cross", name)
                    case ast.Attribute(attr="compile"):
                        yield Reason("passes what cannot cross", "a compiled pattern")

    def _is_called(self, node: ast.expr) -> bool:
        parent = self.parents[node]
        while isinstance(parent, ast.Attribute):
            node, parent = parent, self.parents[parent]
        return isinstance(parent, ast.Call) and parent.func is node
