"""The candidate's code as a module: loaded, looked up in, and what its exceptions say.

Bound before that code runs, as all that is needed later.
"""

from __future__ import annotations

import builtins
import sys
from types import ModuleType
from typing import Any

from sandboxes.runtime import wire

__builtins__ = dict(vars(builtins))  # type: ignore[assignment]  # ours alone: a candidate may replace names

FILENAME = "solution.py"


class LoadError(Exception):
    """The code cannot be called. Carries the body of an `X` message."""


def load(code: str, name: str = "solution") -> ModuleType:
    """Run the code as a module of its own.

    Raises:
        LoadError: It does not compile, or raises.
    """
    try:
        compiled = compile(text_of(code), FILENAME, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise LoadError(wire.SYNTAX + describe(error)) from None
    module = ModuleType(name)
    module.__file__ = FILENAME
    module.__dict__["__builtins__"] = builtins
    module.__loader__ = _Source(code)  # type: ignore[assignment]
    # Both names, since code looks itself up under either: dataclasses, pickle, typing, `import __main__`.
    sys.modules[name] = sys.modules["__main__"] = module
    sys.argv = [FILENAME]
    try:
        exec(compiled, module.__dict__)
    except BaseException as error:
        raise LoadError(wire.IMPORT + describe(error)) from None
    return module


def text_of(code: str) -> str:
    """The code without a byte order mark, which Python accepts in a file but not in a string."""
    return code[1:] if code[:1] == "\ufeff" else code


class _Source:
    """Lets tracebacks and `inspect.getsource` find the text."""

    def __init__(self, code: str) -> None:
        self.code = code

    def get_source(self, name: str) -> str:
        return self.code


def entry(module: ModuleType, name: str) -> Any:
    """What `f` or `Solution.f` names.

    Raises:
        LoadError: Nothing, or it could not be made.
    """
    try:
        first, *rest = name.split(".")
        found: Any = module.__dict__[first]
        if rest and isinstance(found, type):
            found = found()
        for attribute in rest:
            found = getattr(found, attribute)
    except KeyError:
        raise LoadError(wire.ENTRY + b"NameError\0there is no " + name.encode("utf-8", "replace")[:200]) from None
    except BaseException as error:
        raise LoadError(wire.ENTRY + describe(error)) from None
    return found


def describe(error: BaseException) -> bytes:
    """Name, NUL, message and line of an exception."""
    try:
        name, text, line = _facts(error)
        text = text[:500]
        if line:
            text = f"{text} (line {line})" if text else f"line {line}"
        return f"{name}\0{text}".encode("utf-8", "backslashreplace")
    except BaseException:  # whatever the candidate made of its exception
        return b"Exception\0"


def crossing(error: BaseException) -> bytes:
    """Name, NUL, name of the first builtin class it derives from, NUL, line, NUL, message: for the judge's tests."""
    try:
        name, text, line = _facts(error)
        kinds = (kind for kind in type.mro(type(error)) if vars(builtins).get(kind.__name__) is kind)
        base = next(kinds, Exception).__name__
        return f"{name}\0{base}\0{line}\0{text[:4000]}".encode("utf-8", "backslashreplace")
    except BaseException:
        return b"Exception\0Exception\x000\0"


def _facts(error: BaseException) -> tuple[str, str, int]:
    name = type.__getattribute__(type(error), "__name__")
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILENAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    return name, str(error), line
