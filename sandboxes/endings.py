"""What an ended session means for the answer: the mapping from endings and load errors to outcomes, in one place."""

from __future__ import annotations

import signal

from sandboxes.runtime import wire
from sandboxes.sandbox import End, Ending
from sandboxes.verdict import Outcome

_LIMITS: dict[End, tuple[Outcome, str]] = {
    End.CPU_LIMIT: (Outcome.TIMEOUT, "over its CPU limit"),
    End.WALL_LIMIT: (Outcome.TIMEOUT, "over its wall limit"),
    End.MEMORY_LIMIT: (Outcome.OUT_OF_MEMORY, "over its memory limit"),
    End.OVERSIZE: (Outcome.TAMPERED, "sent or printed more than the caps allow"),
    End.PROTOCOL: (Outcome.TAMPERED, "sent something that is no message"),
}


def one_line(text: str, room: int = 300) -> str:
    """Text of a candidate's as one printable line."""
    line = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text.strip()[: 2 * room])
    return line if len(line) <= room else line[: room - 1] + "…"


def breach(ending: Ending) -> tuple[Outcome, str] | None:
    """The outcome if a limit or a cap ended the session, whatever it had answered by then."""
    return _LIMITS.get(ending.end)


def unanswered(ending: Ending) -> tuple[Outcome, str]:
    """The outcome of a candidate that is gone before it has answered."""
    known = breach(ending)
    if known is not None:
        return known
    if ending.status < 0:
        try:
            name = signal.Signals(-ending.status).name
        except ValueError:
            name = f"signal {-ending.status}"
        return Outcome.RUNTIME_ERROR, f"killed by {name} before it had answered"
    return Outcome.RUNTIME_ERROR, f"exited with status {ending.status} before it had answered"


def crashed(ending: Ending, out_of_memory: tuple[str, ...] = ()) -> tuple[Outcome, str]:
    """The outcome of a program that ended by itself with a status that is not 0.

    Args:
        ending: Of its session.
        out_of_memory: What its run time says on stderr when memory ends.
    """
    last = (ending.stderr_tail.strip().splitlines() or [""])[-1]
    outcome = Outcome.RUNTIME_ERROR
    if any(words in ending.stderr_tail for words in out_of_memory):
        outcome = Outcome.OUT_OF_MEMORY
    return outcome, one_line(f"exit status {ending.status}: {last}")


def raised(body: bytes) -> tuple[Outcome, str]:
    """The outcome of an exception that crossed as name, NUL, message."""
    name, _, message = body[:2000].decode("utf-8", "replace").partition("\0")
    outcome = Outcome.OUT_OF_MEMORY if name == "MemoryError" else Outcome.RUNTIME_ERROR
    return outcome, one_line(f"{name}: {message}" if message else name)


def not_loaded(body: bytes) -> tuple[Outcome, str]:
    """The outcome of an `X` message."""
    outcome, message = raised(body[1:])
    if body[:1] == wire.SYNTAX:
        return Outcome.COMPILE_ERROR, message
    return outcome, message
