"""The arena's child: loads one candidate and answers calls to it. Nothing here is secret and nothing here is believed.

The candidate shares this process and may do to it what it likes; all it can reach by that is a different answer. What
it changes by accident (a name in `builtins`, a function of `os`) must not break the answers of an honest program, so
everything needed later is bound before its code runs.

Jobs, as tuples: `("calls", code, entry_point, [arguments, …])` answers each call with fresh arguments and sends long
results as digests; `("session", code, entry_point, [request, …])` then goes on to answer requests of the judge;
`("program", code, stdin)` runs a program to its end; those of `shared` run tests beside the candidate; `("build", …)`
and `("run", …)` are of other languages and in `native`. `Solution.f` is the method of one instance, made before the
first call and kept for all of them, as LiveCodeBench does.
"""

from __future__ import annotations

import builtins
import os
import sys
from hashlib import sha256
from marshal import loads as read_plain
from signal import ITIMER_VIRTUAL, SIG_DFL, SIGVTALRM, setitimer
from signal import signal as on_signal
from time import monotonic
from types import ModuleType
from typing import Any

from sandboxes.runtime import wire
from sandboxes.runtime.codec import CodecError, TooBig, decode, encode, encode_pieces, loads

__builtins__ = dict(vars(builtins))  # type: ignore[assignment]  # ours alone: a candidate may replace names

FLUSH_S = 0.05
FLUSH_BYTES = 256 * 1024
KEEP_BYTES = 8 << 20
RECURSION = 30_000
"""Python frames. Honest deep recursion works, and an endless one still ends long before the memory does."""
FILENAME = "solution.py"


def warm() -> None:
    """Load now what every fork would load again."""
    sys.setrecursionlimit(RECURSION)
    import sandboxes.runtime.native
    import sandboxes.runtime.program  # noqa: F401


_REHEARSED = "def f(x):\n    return x\n"


def rehearse() -> None:
    """Do a job of our own from end to end, and leave the interpreter as it was.

    In the zygote this lets the interpreter settle on its fast paths; in a fork, before the job is there, it makes the
    pages that every job writes the child's own. Nothing of any candidate is involved.
    """
    modules, argv = {name: sys.modules.get(name) for name in ("solution", "__main__")}, sys.argv
    job = encode(("calls", _REHEARSED, "f", [encode([1])]))
    pipes = (*os.pipe(), *os.pipe())
    try:
        wire.send(pipes[1], job)
        serve(pipes[0], pipes[3])
    finally:
        for fd in pipes:
            os.close(fd)
        on_signal(SIGVTALRM, SIG_DFL)
        sys.argv = argv
        for name, module in modules.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


class Outbox:
    """Answers on their way: gathered, so that a thousand fast calls are one message, but never held for long.

    A CPU timer flushes in the middle of a call too: what was answered before a call that hangs must be known when the
    process is killed. (It is a signal: one that hangs inside a C function loses at most the last `FLUSH_S`.)
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.parts: list[bytes] = []
        self.size = 0
        self.flushed = monotonic()
        self.calling = False
        on_signal(SIGVTALRM, self._tick)
        setitimer(ITIMER_VIRTUAL, FLUSH_S, FLUSH_S)

    def _tick(self, number: int, frame: Any) -> None:
        if self.calling and self.parts:
            self.flush()

    def add(self, record: bytes) -> None:
        """Take one more answer."""
        self.parts.append(record)
        self.size += len(record)
        if self.size >= FLUSH_BYTES or monotonic() - self.flushed > FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Send what there is."""
        if self.parts:
            parts, self.parts, self.size = self.parts, [], 0
            wire.send(self.fd, b"R" + b"".join(parts))
        self.flushed = monotonic()

    def close(self) -> None:
        """Send what there is; no timer from here on."""
        setitimer(ITIMER_VIRTUAL, 0.0)
        self.flush()


class LoadError(Exception):
    """The code cannot be called. Carries the body of an `X` message."""


def serve(inbox: int, outbox: int) -> None:
    """Do one job."""
    message = wire.receive(inbox)
    if message is None:
        return
    job = loads(message)
    if job[0] == "program":
        from sandboxes.runtime.program import run

        run(job[1], job[2], outbox)
    if job[0] in ("unittest", "tested"):
        from sandboxes.runtime import shared

        shared.serve(job, inbox, outbox)
    if job[0] in ("build", "run"):
        from sandboxes.runtime import native

        (native.build if job[0] == "build" else native.run)(job, outbox)
        return
    try:
        if job[0] == "calls":
            _calls(job[1], job[2], job[3], inbox, outbox)
        else:
            _session(job[1], job[2], job[3], inbox, outbox)
    except LoadError as error:
        wire.send(outbox, b"X" + error.args[0])


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


# -- calls ------------------------------------------------------------------------------------------------------------


def _calls(code: str, entry_point: str, calls: list[bytes], inbox: int, outbox: int) -> None:
    out = Outbox(outbox)
    function = entry(load(code), entry_point)
    kept: dict[int, bytes] = {}
    room = KEEP_BYTES
    digests = 0
    for index, raw in enumerate(calls):
        arguments = loads(raw)
        out.calling = True
        try:
            result = function(*arguments)
            answer, full = _short(result)
            del result
        except BaseException as error:
            answer, full = wire.record(wire.RAISED, describe(error)), None
            del error
        out.calling = False
        if full is not None and len(full) <= room:
            kept[index] = full
            room -= len(full)
        digests += answer[:1] == wire.DIGEST_OF
        out.add(answer)
    out.close()
    while digests and (message := wire.receive(inbox)) not in (None, wire.DONE):
        index = int.from_bytes(message[1:5], "little")
        if index in kept:
            answer = wire.record(wire.VALUE, kept[index])
        else:
            try:
                answer = _whole(function(*loads(calls[index])), _count_opaque())
            except BaseException as error:
                answer = wire.record(wire.RAISED, describe(error))
        wire.send(outbox, b"f" + answer)


def _count_opaque() -> Any:
    return lambda value: 0


def _short(result: Any) -> tuple[bytes, bytes | None]:
    """The record of a result, and its whole encoding where the record holds only the digest of one at hand."""
    try:
        if type(result) in (list, tuple) and len(result) > 65536:
            digest, length = sha256(), 0
            for piece in encode_pieces(result, _count_opaque()):
                digest.update(piece)
                length += len(piece)
            return wire.record(wire.DIGEST_OF, wire.DIGEST.pack(length, digest.digest())), None
        data = encode(result, _count_opaque())
    except TooBig as error:
        return wire.record(wire.UNSENDABLE, str(error).encode()), None
    if data[:1] == b"H":
        return wire.record(wire.OPAQUE, _type_name(result)), None
    if len(data) <= wire.INLINE:
        return wire.record(wire.VALUE, data), None
    return wire.record(wire.DIGEST_OF, wire.DIGEST.pack(len(data), sha256(data).digest())), data


def _whole(result: Any, opaque: Any) -> bytes:
    """The record of a result in full."""
    try:
        data = encode(result, opaque)
    except CodecError as error:
        return wire.record(wire.UNSENDABLE, str(error).encode())
    if len(data) > wire.LONGEST:
        return wire.record(wire.UNSENDABLE, b"the value takes %d bytes" % len(data))
    return wire.record(wire.VALUE, data)


def _type_name(value: Any) -> bytes:
    name: str = type.__getattribute__(type(value), "__name__")
    return name[:200].encode("utf-8", "backslashreplace")


# -- session ----------------------------------------------------------------------------------------------------------


class _Session:
    """Answers requests: `(target, args, kwargs, names)`, encoded. Objects that cannot be sent stay here, by number."""

    NAMES = 1 << 31
    """Handles from here on are not objects but names, by their place in the request's `names`."""

    def __init__(self, module: ModuleType, entry_point: str) -> None:
        self.module = module
        self.entry_point = entry_point
        self.function = entry(module, entry_point) if entry_point else None
        self.objects: list[Any] = []

    def keep(self, value: Any) -> int:
        self.objects.append(value)
        return len(self.objects) - 1

    def named(self, name: str) -> Any:
        if name == self.entry_point:
            return self.function
        if name.startswith("builtins."):  # the test passes `int`, say
            return getattr(builtins, name[9:])
        try:
            return self.module.__dict__[name]
        except KeyError:
            raise NameError(f"name {name!r} is not defined") from None

    def read(self, raw: bytes) -> tuple[Any, Any, Any]:
        """Target, arguments and keyword arguments of a request that is not plain."""
        names: tuple[str, ...] = decode(raw, lambda number: None, 1 << 62)[3]

        def found(number: int) -> Any:
            return self.named(names[number - self.NAMES]) if number >= self.NAMES else self.objects[number]

        target, args, kwargs, _ = decode(raw, found, 1 << 62)
        return target, args, kwargs

    def answer(self, raw: bytes, out: Outbox) -> bytes:
        """The record of one request's result. Tells too what the call has done to plain arguments."""
        try:
            try:
                target, args, kwargs, _ = read_plain(raw)
                plain = True
            except ValueError:
                target, args, kwargs = self.read(raw)
                plain = False
            out.calling = True
            result = self.named(target)(*args, **kwargs)
            out.calling = False
            if not plain or encode((target, args, kwargs, ()), self.keep) == raw:
                return _whole(result, self.keep)
            changed = _whole((result, args, kwargs), self.keep)
            return wire.CHANGED + changed[1:] if changed[:1] == wire.VALUE else changed
        except BaseException as error:
            return wire.record(wire.RAISED, crossing(error))
        finally:
            out.calling = False


def _session(code: str, entry_point: str, requests: list[bytes], inbox: int, outbox: int) -> None:
    out = Outbox(outbox)
    session = _Session(load(code), entry_point)
    if not requests:
        wire.send(outbox, b"R")  # it is loaded
    for raw in requests:
        out.add(session.answer(raw, out))
    out.flush()
    while (message := wire.receive(inbox)) not in (None, wire.DONE):
        wire.send(outbox, b"R" + session.answer(message[1:], out))
