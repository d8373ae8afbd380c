"""What stands in the judge for things that stay in the arena. Nothing can be learnt from a handle but that it is there.

A handle is an object of the candidate's own making: were `==`, truth or an attribute of it asked of the candidate, a
wrong program would answer what the test wants to hear. So every use in test code, other than passing it to a further
call, spoils the test, for good, even if the test swallows the exception.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn


class Stop(BaseException):
    """Ends the test that runs. No `Exception`, and what ended it sticks to the `State`, so swallowing it is no use."""


class State:
    """What has put an end to the test that runs, beside its own assertions: the first cause counts."""

    def __init__(self) -> None:
        self.kind = ""
        self.reason = ""

    def stop(self, kind: str, reason: str) -> NoReturn:
        """End the test.

        Args:
            kind: `spoiled` (a handle was used), `gone` (the arena has ended), `tampered` (a malformed reply), or
                `broken` (the test itself cannot be judged here).
            reason: A line for a person.
        """
        if not self.kind:
            self.kind, self.reason = kind, reason
        raise Stop(reason)


_DUNDERS = """
    eq ne lt le gt ge hash bool len str repr bytes format iter next reversed contains getitem setitem delitem missing
    call enter exit aenter aexit aiter anext await length_hint
    add sub mul matmul truediv floordiv mod divmod pow lshift rshift and xor or
    radd rsub rmul rmatmul rtruediv rfloordiv rmod rdivmod rpow rlshift rrshift rand rxor ror
    iadd isub imul imatmul itruediv ifloordiv imod ipow ilshift irshift iand ixor ior
    neg pos abs invert int float complex index round trunc floor ceil
    setattr delattr dir instancecheck subclasscheck copy deepcopy reduce reduce_ex sizeof fspath get set delete
"""


class Handle:
    """An object in the arena."""

    __slots__ = ("_number", "_state")

    def __init__(self, number: int, state: State) -> None:
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_state", state)

    def __getattribute__(self, name: str) -> Any:
        object.__getattribute__(self, "_state").stop(
            "spoiled", f"the test asks an object of the candidate's for .{name}"
        )


def _spoiling(name: str) -> Any:
    def method(self: Handle, *args: Any, **kwargs: Any) -> Any:
        state: State = object.__getattribute__(self, "_state")
        state.stop("spoiled", f"the test uses an object of the candidate's by {name}")

    return method


for _name in _DUNDERS.split():
    setattr(Handle, f"__{_name}__", _spoiling(f"__{_name}__"))


def number_of(handle: Handle) -> int:
    """The handle's number in the arena."""
    number: int = object.__getattribute__(handle, "_number")
    return number


class Proxy(Handle):
    """Something of the candidate's by its name. It can be called, and passed to a further call."""

    __slots__ = ("_call", "_name")

    def __init__(self, name: str, call: Callable[..., Any], state: State) -> None:
        super().__init__(-1, state)
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_call", call)

    def __getattribute__(self, name: str) -> Any:
        if name == "__name__":  # which the test has said itself; assertRaises wants it
            return object.__getattribute__(self, "_name")
        return super().__getattribute__(name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it, in the arena."""
        return object.__getattribute__(self, "_call")(object.__getattribute__(self, "_name"), args, kwargs)


def call_for_effect(proxy: Proxy, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call it where the test throws the result away: see `effects`."""
    return object.__getattribute__(proxy, "_call")(name_of(proxy), args, kwargs, True)


def name_of(proxy: Proxy) -> str:
    """The name that the proxy stands for."""
    name: str = object.__getattribute__(proxy, "_name")
    return name


class CandidateError(Exception):
    """An exception of a class that only the candidate knows; its subclasses carry the class's name."""


def exception(body: bytes) -> Exception:
    """The exception that crossed (`sandboxes.runtime.solution.crossing`).

    Of the builtin class of that name, or of a class of that name derived from the builtin one that it derives from; of
    a `CandidateError` where that is none that a test may catch.
    """
    import builtins

    name, _, rest = body.decode("utf-8", "replace").partition("\0")
    base, _, rest = rest.partition("\0")
    line, _, message = rest.partition("\0")
    kind = vars(builtins).get(base)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        kind = CandidateError
    if kind is Exception and name != "Exception":
        kind = CandidateError
    # One class more, that says the message as it was said: `str(KeyError(text))` would quote it again.
    made: Any = type(
        name if name.isidentifier() else "CandidateError",
        (kind,),
        {"__str__": lambda self: message, "__init__": lambda self, *args: None, "__module__": kind.__module__},
    )
    error: Exception
    try:
        error = made.__new__(made, message)
    except TypeError:  # ExceptionGroup wants more
        error = CandidateError(f"{name}: {message}")
    error.__mellum_crossed__ = True  # type: ignore[attr-defined]
    error.__mellum_line__ = int(line) if line.isascii() and line.isdigit() else 0  # type: ignore[attr-defined]
    return error
