"""What keeps a candidate from the tests that share its process, as far as CPython lets it.

Three things, none of them a wall (see `docs/sandbox.md`): an audit hook, which Python code cannot take out again, that
refuses the ways to rewrite running code or to list all objects; copies of what the tests use, taken before the
candidate's first line; and a comparison of those with what is there now, after each test.
"""

from __future__ import annotations

import _thread
import builtins
import gc
import sys
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

__builtins__ = dict(vars(builtins))  # type: ignore[assignment]  # ours alone: a candidate may replace names

_REFUSED = frozenset(
    {
        *("sys.settrace", "sys._current_frames", "sys._current_exceptions", "sys.addaudithook"),
        *("sys.monitoring.register_callback", "gc.get_objects", "gc.get_referrers", "gc.get_referents"),
    }
)
_CODE = (FunctionType, BuiltinFunctionType, MethodType, type)
_CHANGING = frozenset({"sys", "warnings", "builtins", "__main__"})
"""Modules whose own functions change names in them."""


def refuse_rewriting(ours: tuple[str, ...]) -> None:
    """From here on this process cannot be traced, list its objects or change our functions' code.

    Its memory is the kernel's to guard: the process is not dumpable since it changed its user, so that `/proc/*/mem` is
    root's whatever path leads there. Against `ctypes` nothing helps: it needs no file and no name to read memory, and
    honest libraries use all of it.

    Args:
        ours: What the file names of protected code begin with.
    """

    def hook(
        event: str,
        args: tuple[Any, ...],
        refused: Any = _REFUSED,
        kind: Any = type,
        function: Any = FunctionType,
        ours: Any = ours,
    ) -> None:
        if event in refused:
            raise RuntimeError("not while tests run in this process: " + event)
        code = event == "object.__setattr__" and args[1] == "__code__" and kind(args[0]) is function
        if code and args[0].__code__.co_filename.startswith(ours):
            raise RuntimeError("not while tests run in this process: to change this function's code")

    sys.addaudithook(hook)
    # What honest libraries ask of two of them is answered, as far as their own frames and attributes say it: matplotlib
    # whether an event loop runs, pandas whether a table is another's view. No globals, so that they lead nowhere.
    sys._current_frames = _without_globals(_own_frames)
    gc.get_referents = _without_globals(_attributes)


def _own_frames(ident: Any = _thread.get_ident, frame: Any = sys._getframe) -> dict[int, Any]:
    return {ident(): frame(1)}


def _attributes(
    *things: Any, kind: Any = type, read: Any = object.__getattribute__, missing: Any = AttributeError
) -> list[Any]:
    found = []
    for thing in things:
        if thing is not None:
            found.append(kind(thing))
            try:
                found.append(read(thing, "__dict__"))
            except missing:
                pass
    return found


def _without_globals(function: Any) -> Any:
    made = FunctionType(function.__code__, {}, function.__name__, function.__defaults__)
    made.__kwdefaults__ = function.__kwdefaults__
    return made


class Seal:
    """How things were before the candidate ran: names and what they stood for."""

    def __init__(self) -> None:
        self.spaces: list[tuple[str, Any, dict[str, Any]]] = []

    def add(self, name: str, space: Any) -> None:
        """Remember the functions and classes in a namespace."""
        held = {key: value for key, value in dict(space).items() if isinstance(value, _CODE) and key[:1] != "_"}
        self.spaces.append((name, space, held))

    def add_module(self, module: ModuleType) -> None:
        """Remember a module's, if it is one that does not change itself."""
        if module.__name__ not in _CHANGING:
            self.add(module.__name__, module.__dict__)

    def add_classes(self, module: ModuleType) -> None:
        """Remember what is in the classes of a module, whatever it is."""
        for name, value in list(vars(module).items()):
            if type(value) is type and value.__module__ == module.__name__:
                self.spaces.append((f"{module.__name__}.{name}", value.__dict__, dict(value.__dict__)))

    def broken(self) -> str:
        """The first name that now stands for something else, '' if none does."""
        for name, space, held in self.spaces:
            for key, value in held.items():
                now = space.get(key, value)
                if now is not value and not type(now).__module__.startswith("unittest"):  # the test's own mocks
                    return f"{name}.{key}"
        return ""
