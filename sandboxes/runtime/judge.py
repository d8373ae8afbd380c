"""The judge's child: runs data-set tests and comparisons on values that came out of the arena.

Jobs, as tuples: `("compare", rule, atol, [(arguments, expected, also, result), …])`;
`("check", test, prelude, entry_point, answered, alive)`; `("asserts", tests, setup, [answered, …], alive)`;
`("unittest", test, cases, [answered, …], alive)`; `("math", payload)`; `("run_apis", …)`, `("compare_apis", …)`
(see `judge_apis`). `answered` lists requests that were already put
to the candidate, each with its record; what else the test asks is sent as `Q` request, to which the harness answers `R`
record or, where the arena has ended, `X`. The verdict is `V` and an encoded value. The harness decodes that with caps:
the judge has touched hostile values too.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import random
import sys
from collections.abc import Iterator
from types import BuiltinFunctionType, ModuleType
from typing import Any

from sandboxes.runtime import testcode, testrun, wire
from sandboxes.runtime.codec import CodecError, decode, encode, loads
from sandboxes.runtime.effects import MARK, compile_marked, compile_test
from sandboxes.runtime.handles import Handle, Proxy, State, Stop, call_for_effect, exception, name_of, number_of
from sandboxes.runtime.settle import settle

MAX_NODES = 40_000_000
NAMES = 1 << 31
SEED = 20241


def warm() -> None:
    """Room for values as deep as the codec takes them, and what takes long to load: math-verify, where it is."""
    sys.setrecursionlimit(20_000)
    importlib.import_module("unittest")
    if importlib.util.find_spec("math_verify") is not None:
        importlib.import_module("sandboxes.runtime.judge_math").warm()


def serve(inbox: int, outbox: int) -> None:
    """Do one job."""
    message = wire.receive(inbox)
    if message is None:
        return
    job = loads(message)
    random.seed(SEED)  # tests that draw inputs draw the same ones for everybody
    verdict: Any
    kind, *fields = job
    if kind == "compare":
        verdict = _compare(*fields)
    elif kind == "check":
        verdict = _check(Caller(inbox, outbox), *fields)
    elif kind == "asserts":
        verdict = _asserts(Caller(inbox, outbox), *fields)
    elif kind == "unittest":
        verdict = _unittest(Caller(inbox, outbox), *fields)
    elif kind == "math":
        verdict = importlib.import_module("sandboxes.runtime.judge_math").judge_math(*fields)
    elif kind in ("run_apis", "compare_apis"):
        verdict = getattr(importlib.import_module("sandboxes.runtime.judge_apis"), kind)(*fields)
    else:
        raise ValueError(f"no job {kind!r}")
    wire.send(outbox, b"V" + encode(verdict))


# -- comparisons ------------------------------------------------------------------------------------------------------


def _compare(rule: str, atol: float | None, items: list[tuple[bytes, bytes, list[bytes], bytes]]) -> list[Any]:
    verdicts: list[Any] = []
    for arguments, expected, also, result in items:
        try:
            right, got, wanted = settle(rule, atol, arguments, expected, also, result, MAX_NODES)
            verdicts.append(("passed" if right else "failed", got, wanted))
        except CodecError as error:
            verdicts.append(("tampered", str(error), ""))
        except RecursionError:
            verdicts.append(("failed", "a value nested too deeply", ""))
    return verdicts


# -- tests ------------------------------------------------------------------------------------------------------------


class Caller:
    """Puts the test's calls to the candidate: answered ones first, as long as the test asks them in their order."""

    def __init__(self, inbox: int, outbox: int) -> None:
        self.inbox = inbox
        self.outbox = outbox
        self.state = State()
        self.alive = True
        self.seen = False
        """Whether a value of the candidate's has reached a test."""
        self.answered: Iterator[tuple[bytes, bytes, bytes]] = iter(())

    def begin(self, answered: list[tuple[bytes, bytes, bytes]]) -> None:
        """A new test, with its answered requests."""
        self.state.kind = self.state.reason = ""
        self.answered = iter(answered)

    def __call__(self, target: str, args: tuple[Any, ...], kwargs: dict[str, Any], for_effect: bool = False) -> Any:
        """One call of the candidate: its result, or its exception, or the end of the test.

        Args:
            target: The name that is called.
            args: Positional arguments.
            kwargs: Keyword arguments.
            for_effect: The test throws the result away, so what it wants is what the call does to its arguments.
        """
        names: list[str] = []

        def opaque(item: Any) -> int:
            if type(item) is Proxy:
                names.append(name_of(item))
                return NAMES + len(names) - 1
            if type(item) is Handle:
                return number_of(item)
            name = getattr(item, "__name__", "") if isinstance(item, (type, BuiltinFunctionType)) else ""
            if name and vars(builtins).get(name) is item:
                names.append("builtins." + name)
                return NAMES + len(names) - 1
            self.state.stop("broken", f"the test passes the candidate a {type(item).__name__}, which cannot cross")

        try:
            # Twice where names turn up, since they are part of the request.
            raw = encode((target, args, kwargs, ()), opaque)
            if names:
                known, names = tuple(names), []
                raw = encode((target, args, kwargs, known), opaque)
        except CodecError as error:
            self.state.stop("broken", f"the test's arguments cannot cross: {error}")
        status, body = self.ask(raw)
        self.seen = True
        try:
            return self.value(status, body, args, kwargs, for_effect)
        except CodecError as error:
            self.state.stop("tampered", f"malformed reply: {error}")

    def ask(self, raw: bytes) -> tuple[bytes, bytes]:
        """The record that answers a request."""
        known = next(self.answered, None)
        if known is not None and known[0] == raw:
            return known[1], known[2]
        self.answered = iter(())
        reply = None
        if self.alive:
            wire.send(self.outbox, b"Q" + raw)
            reply = wire.receive(self.inbox)
        if reply is None or reply[:1] != b"R":
            self.alive = False
            self.state.stop("gone", "the candidate's process has ended")
        try:
            (only,) = wire.records(reply[1:])
        except ValueError as error:
            self.state.stop("tampered", f"malformed reply: {error}")
        return only

    def value(self, status: bytes, body: bytes, args: tuple[Any, ...], kwargs: dict[str, Any], for_effect: bool) -> Any:
        """What the call gives, or raises."""
        if status == wire.VALUE:
            return decode(body, self.handle, MAX_NODES)
        if status == wire.CHANGED:
            try:
                value, positional, named = decode(body, self.handle, MAX_NODES)
                pairs = [*zip(args, positional), *((kwargs[k], v) for k, v in named.items() if k in kwargs)]
            except (TypeError, ValueError, AttributeError):
                raise CodecError("a changed argument list") from None
            if for_effect:
                for mine, theirs in pairs:
                    _become(mine, theirs)
            return value
        if status == wire.RAISED:
            raise exception(body)
        if status == wire.UNSENDABLE:
            self.state.stop("tampered", body.decode("utf-8", "replace")[:200])
        raise CodecError("a record of unknown status")

    def handle(self, number: int) -> Handle:
        """A handle, a new one each time: no two values are the same object because the candidate says so."""
        return Handle(number, self.state)


def _become(mine: Any, theirs: Any) -> None:
    """Do to the test's own container what the call did to the candidate's copy."""
    if type(mine) is not type(theirs):
        return
    if type(mine) in (list, bytearray):
        mine[:] = theirs
    elif type(mine) in (dict, set):
        mine.clear()
        mine.update(theirs)


def _evaluates(state: State, name: str) -> Any:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        state.stop("broken", f"the test calls {name}, which might run the candidate's text here")

    return refuse


def _for_effect(function: Any, /, *args: Any, **kwargs: Any) -> Any:
    return call_for_effect(function, args, kwargs) if type(function) is Proxy else function(*args, **kwargs)


class _Names(dict):  # type: ignore[type-arg]
    """Builtins, and after them the candidate's names: CPython asks a dict subclass through `__missing__`."""

    def __init__(self, caller: Caller | None, state: State) -> None:
        super().__init__(vars(builtins))
        for name in ("eval", "exec", "compile"):
            self[name] = _evaluates(state, name)
        self[MARK] = _for_effect
        self.caller = caller

    def __missing__(self, name: str) -> Any:
        if self.caller is None or name.startswith("__"):
            raise KeyError(name)
        return Proxy(name, self.caller, self.caller.state)


def _namespace(names: _Names) -> dict[str, Any]:
    module = ModuleType("test")
    sys.modules["test"] = module
    module.__dict__["__builtins__"] = names
    return module.__dict__


def _broken(error: BaseException) -> tuple[str, str, int]:
    return "broken", f"the data set's own code fails: {type(error).__name__}: {str(error)[:200]}", 0


def _run(caller: Caller, filename: str, function: Any, *args: Any, loads: bool = False) -> tuple[str, str, int]:
    """Run one test: kind, a line that gives no expected value away, and the line in the test's source.

    Args:
        caller: The candidate.
        filename: Of the test's source.
        function: What to run.
        *args: Its arguments.
        loads: It only defines the tests. Where that fails before the candidate was called, it is the data set's fault.
    """
    before = caller.seen
    try:
        function(*args)
    except Stop:
        pass
    except BaseException as error:
        line = _line(error, filename)
        if caller.state.kind:
            pass
        elif hasattr(error, "__mellum_crossed__"):
            place = getattr(error, "__mellum_line__", 0)
            text = f"{type(error).__name__}: {str(error)[:300]}" + (f" (line {place})" if place else "")
            return "raised", text, line
        elif isinstance(error, MemoryError):
            return ("tampered" if caller.seen else "broken"), "the judge ran out of memory on the values", line
        elif (loads or isinstance(error, (ImportError, NameError))) and not before and not caller.seen:
            return _broken(error)
        elif isinstance(error, AssertionError):
            return "failed", "an assertion does not hold", line
        else:
            return "failed", f"the test fails on a result: {type(error).__name__}", line
    if caller.state.kind:
        return caller.state.kind, caller.state.reason, 0
    return "passed", "", 0


def _line(error: BaseException, filename: str) -> int:
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == filename:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _check(
    caller: Caller, test: str, prelude: str, entry_point: str, answered: list[Any], alive: bool
) -> list[tuple[str, str, int]]:
    caller.alive = alive
    caller.begin(answered)
    space = _namespace(_Names(None, caller.state))
    proxy = Proxy(entry_point, caller, caller.state)
    try:
        exec(compile_test(prelude, "prelude.py"), space)
        space[entry_point] = proxy  # the prelude may hold a stub of that name, and the test may use it (HumanEval/33)
        exec(compile_test(test, "test.py"), space)
        check = space["check"]
    except BaseException as error:
        return [_broken(error)]
    return [_run(caller, "test.py", check, proxy)]


def _asserts(
    caller: Caller, tests: list[str], setup: str, answered: list[list[Any]], alive: bool
) -> list[tuple[str, str, int]]:
    caller.alive = alive
    space = _namespace(_Names(caller, caller.state))
    caller.begin([])
    try:
        compiled = compile_test(setup, "setup.py")
        codes = [compile_test(test, "test.py") for test in tests]
    except (SyntaxError, ValueError) as error:
        return [_broken(error)] * len(tests)
    if setup.strip():
        ready = _run(caller, "setup.py", exec, compiled, space, loads=True)
        if ready[0] != "passed":
            return [ready] * len(tests)
    verdicts = []
    for code, known in zip(codes, answered):
        caller.begin(known)
        verdicts.append(_run(caller, "test.py", exec, code, dict(space)))
    return verdicts


def _unittest(
    caller: Caller, test: str, cases: tuple[tuple[str, tuple[str, ...]], ...], answered: list[list[Any]], alive: bool
) -> list[tuple[str, str, int]]:
    caller.alive = alive
    space = _namespace(_Names(caller, caller.state))
    caller.begin([])
    total = sum(len(methods) for _, methods in cases)
    try:
        code = compile_marked(testcode.parse(test), testcode.TEST_FILE)
    except (SyntaxError, ValueError) as error:
        return [_broken(error)] * total
    ready = _run(caller, testcode.TEST_FILE, exec, code, space, loads=True)
    if ready[0] != "passed":
        return [ready] * total
    try:
        found = testrun.classes(space, cases)
    except (KeyError, AttributeError) as error:
        return [_broken(error)] * total
    verdicts = []
    for (_, run), known in zip(testrun.fixtured(space, found), answered):
        caller.begin(known)
        verdicts.append(_run(caller, testcode.TEST_FILE, run))
    return verdicts
