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

from sandboxes.runtime import native, program, wire
from sandboxes.runtime.codec import CodecError, TooBig, decode, encode, encode_pieces, loads
from sandboxes.runtime.solution import LoadError, crossing, describe, entry, load

__builtins__ = dict(vars(builtins))  # type: ignore[assignment]  # ours alone: a candidate may replace names

FLUSH_S = 0.05
FLUSH_BYTES = 256 * 1024
KEEP_BYTES = 8 << 20
RECURSION = 30_000
"""Python frames. Honest deep recursion works, and an endless one still ends long before the memory does."""


def warm() -> None:
    """Set up now what every fork would set up again."""
    sys.setrecursionlimit(RECURSION)


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


def serve(inbox: int, outbox: int) -> None:
    """Do one job."""
    message = wire.receive(inbox)
    if message is None:
        return
    job = loads(message)
    if job[0] == "program":
        program.run(job[1], job[2], outbox)
    if job[0] in ("unittest", "tested"):
        from sandboxes.runtime import shared

        shared.serve(job, inbox, outbox)
    if job[0] in ("build", "run"):
        (native.build if job[0] == "build" else native.run)(job, outbox)
        return
    try:
        if job[0] == "calls":
            _calls(job[1], job[2], job[3], inbox, outbox)
        else:
            _session(job[1], job[2], job[3], inbox, outbox)
    except LoadError as error:
        wire.send(outbox, b"X" + error.args[0])


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
