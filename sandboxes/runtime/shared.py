"""Runs a data set's tests beside the candidate, in one process: for tests that patch or look into the candidate.

What the candidate would have to forge is one message: a secret, and one byte a test. The secret is never a variable: it
lies on the evaluation stack of the one expression that reads it, runs everything and writes the message; whoever wants
it must search memory. The results are no object either: each byte is made when a test has come to its last line, inside
a C loop, so that there is no result that could be marked as passed.

Jobs, as tuples: `("unittest", test, cases)` and `("tested", tests)`. The answer is `R`, once what the tests import is
loaded, or `B` and why it cannot be: the code has not been sent yet, so that both can be believed. Then come the code
and the secret, two messages. What follows is `X` as for other jobs, or notes (`N`, believed by nobody) and the message:
`T`, the secret, one byte a test, of which 1 is passed and 2 tampered.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import random
import sys
from collections.abc import Callable, Iterator
from os import _exit, close, getpid, write
from types import CodeType, ModuleType
from typing import Any, NoReturn

from sandboxes.runtime import testcode, testrun, wire
from sandboxes.runtime.guard import Seal, refuse_rewriting
from sandboxes.runtime.solution import LoadError, describe, load
from sandboxes.runtime.testrun import Test

__builtins__ = dict(vars(builtins))  # type: ignore[assignment]  # ours alone: a candidate may replace names

SECRET_BYTES = 32
SEED = 20241
_PRIVATE = ("unittest", "unittest.case", "unittest.mock", "unittest.async_case", "unittest.util")

Kept = dict[str, ModuleType]


def serve(job: tuple[Any, ...], inbox: int, outbox: int) -> NoReturn:
    """Do one job. Never returns: leaves with the secret's message, or without."""
    kind, source = job[:2]
    cases = job[2] if kind == "unittest" else ()
    try:
        tree = testcode.parse(source)
        kept = _imports(tree)
        unittest = kept["unittest.case"]
        code = testcode.compile_bound(tree, _assertions(unittest))
    except BaseException as error:
        wire.send(outbox, b"B" + describe(error))
        _exit(1)
    seal = Seal()
    _seal(seal, tree, kept)
    names = _Names(kept)
    seal.add("builtins", names)
    wire.send(outbox, b"R")
    message = wire.receive(inbox)
    if message is None:
        _exit(1)
    solution = message.decode("utf-8", "surrogatepass")
    tests = _tests(kind, solution, code, cases, names, seal, _folder(unittest), outbox)
    attempt = _attempt(outbox, seal)
    head = wire.LENGTH.pack(1 + SECRET_BYTES + (sum(len(methods) for _, methods in cases) or 1)) + b"T"
    random.seed(SEED)
    del job, source, tree, message
    write(outbox, head + _secret(inbox) + bytes(map(attempt, tests)))
    _exit(0)


def _secret(inbox: int) -> bytes:
    """Read it, and close what it came through."""
    secret = wire.receive(inbox)
    close(inbox)
    if secret is None or len(secret) != SECRET_BYTES:
        _exit(1)
    return secret


# -- before the candidate is here -------------------------------------------------------------------------------------


def _imports(tree: ast.Module) -> Kept:
    """Load what the tests import, and a unittest of their own: the candidate gets another copy.

    Raises:
        ImportError: A module that the tests cannot do without is not here.
    """
    for name in _PRIVATE:
        importlib.import_module(name)
    for statement in ast.walk(tree):
        try:
            if isinstance(statement, ast.Import):
                for alias in statement.names:
                    importlib.import_module(alias.name)
            elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
                __import__(statement.module, fromlist=[alias.name for alias in statement.names])
        except ImportError:
            if statement in tree.body:  # others may stand in a `try`
                raise
    kept = {name: module for name, module in sys.modules.items() if module is not None}
    for name in list(kept):
        if name.split(".")[0] in ("unittest", "sandboxes"):
            del sys.modules[name]
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "Shipped"]
    return kept


def _folder(module: ModuleType) -> str:
    return str(module.__file__).rpartition("/")[0] + "/"


def _assertions(case: ModuleType) -> dict[str, Any]:
    found = vars(case.TestCase).items()
    return {name: value for name, value in found if name.startswith(("assert", "fail")) and callable(value)}


def _seal(seal: Seal, tree: ast.Module, kept: Kept) -> None:
    for name in _PRIVATE:
        if name != "unittest.mock":  # its classes are made to be changed
            seal.add_classes(kept[name])
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for name in names:
            if name in kept and (name.split(".")[0] in sys.stdlib_module_names or name.endswith(".testing")):
                seal.add_module(kept[name])


class _Names(dict):  # type: ignore[type-arg]
    """The tests' builtins, a copy, and after them the candidate's names: CPython asks a subclass by `__missing__`."""

    def __init__(self, kept: Kept) -> None:
        super().__init__(vars(builtins))
        self.module: ModuleType | None = None
        load_other = builtins.__import__

        def load_kept(name: str, space: Any = None, local: Any = None, wanted: Any = (), level: int = 0) -> Any:
            if level == 0 and name in kept:
                return kept[name if wanted else name.partition(".")[0]]
            return load_other(name, space, local, wanted, level)

        self["__import__"] = load_kept

    def __missing__(self, name: str) -> Any:
        if self.module is None or name[:2] == "__":
            raise KeyError(name)
        return self.module.__dict__[name]


# -- with the candidate -----------------------------------------------------------------------------------------------


def _attempt(outbox: int, seal: Seal) -> Callable[[Test], int]:
    """The function that runs one test. All that it needs is bound here: names of modules can be changed later."""
    pid, whoami, leave, broken, tell, send = getpid(), getpid, _exit, seal.broken, describe, wire.send

    def attempt(test: Test) -> int:
        name, run = test
        try:
            run()
        except BaseException as error:
            if whoami() == pid:
                send(outbox, b"N" + name.encode() + b"\0" + tell(error))
            else:
                leave(1)
            return 0
        if whoami() != pid:
            leave(0)  # a copy of this process that came back into the test
        changed = broken()
        if changed:
            send(outbox, b"N" + name.encode() + b"\0tampered\0" + changed.encode() + b" was replaced")
            return 2
        return 1

    return attempt


def _tests(
    kind: str, solution: str, code: CodeType, cases: Any, names: _Names, seal: Seal, ours: str, outbox: int
) -> Iterator[Test]:
    """Load the candidate, then the tests, and give out one after the other."""
    refuse_rewriting(("<sandboxes", testcode.TEST_FILE, ours))
    try:
        names.module = load(solution, "__main__" if kind == "tested" else "solution")
    except LoadError as error:
        wire.send(outbox, b"X" + error.args[0])
        _exit(0)
    # By the candidate's name: a test that patches `__name__ + ".helper"` means the one module that both are elsewhere.
    module = ModuleType(names.module.__name__)
    space = module.__dict__
    space["__builtins__"] = names
    if kind == "tested":
        yield "tests", lambda: exec(code, space)
        return
    try:
        exec(code, space)
        classes = testrun.classes(space, cases)
        for cls, _, _ in classes:
            seal.add(cls.__name__, cls.__dict__)
    except BaseException as error:
        failed = error
        for _, methods in cases:
            for method in methods:
                yield method, testrun.raiser(failed)
        return
    yield from testrun.fixtured(space, classes)
