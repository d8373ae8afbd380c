"""A process of its own for a package that is not imported here: orders and replies are JSON lines.

The process is started again where it ended or was ended. A reply is `{"reply": …}`, `{"refused": why, "sort": sort}`
or `{"failed": why}`.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandboxes.errors import SandboxError

START_S = 3600.0
"""Seconds to start and to answer, where nothing else is said: a package's data may be on its way from the hub."""
_TICK_S = 0.2
_HERTZ = os.sysconf("SC_CLK_TCK")


class Refused(Exception):
    """The order cannot be carried out: `why`, and of which sort (`package`, `name`, `data`, `kind`)."""

    def __init__(self, why: str, sort: str) -> None:
        super().__init__(why)
        self.why, self.sort = why, sort


class Overran(Exception):
    """An order took more CPU time than it may."""


class LineProcess:
    """Calls may come from any thread; they are answered one after another."""

    def __init__(self, worker: Path, environment: Mapping[str, str], first: Mapping[str, Any] | None = None) -> None:
        """Starts nothing yet.

        Args:
            worker: The Python file that is run, with nothing of ours beside it.
            environment: Its environment variables.
            first: The order that each start begins with; its reply is `opened`.
        """
        self.opened: Any = None
        self._worker, self._environment, self._first = worker, dict(environment), first
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""
        atexit.register(self.close)

    def start(self) -> None:
        """Start it now.

        Raises:
            Refused: The first order cannot be carried out.
            SandboxError: The process ended or raised.
        """
        with self._lock:
            self._start()

    def ask(self, do: str, *, wall_s: float = START_S, cpu_s: float = float("inf"), **given: Any) -> Any:
        """One order to the process.

        Raises:
            Refused: It cannot be done.
            Overran: It took more CPU time than it may; the process was ended.
            SandboxError: The process ended or raised, or the machine was too busy.
        """
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
            return self._exchange({"do": do, "with": given}, wall_s, cpu_s)

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()

    def _start(self) -> None:
        self.close()
        self._rest = b""
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(self._worker)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment,
            start_new_session=True,
        )
        if self._first is None:
            return
        try:
            self.opened = self._exchange(dict(self._first), START_S, float("inf"))
        except BaseException:
            self.close()
            raise

    def _exchange(self, order: dict[str, Any], wall_s: float, cpu_s: float) -> Any:
        process = self._process
        assert process is not None and process.stdin is not None
        before = _cpu_s(process.pid)
        try:
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
            answer = json.loads(self._line(process, time.monotonic() + wall_s, before + cpu_s))
        except (OSError, ValueError) as error:
            self.close()
            raise SandboxError(f"{self._worker.stem} ended ({type(error).__name__}: {error})") from None
        except Overran:
            self.close()
            raise
        if "refused" in answer:
            raise Refused(answer["refused"], answer["sort"])
        if "failed" in answer:
            raise SandboxError(f"{self._worker.stem} failed: {answer['failed']}")
        return answer["reply"]

    def _line(self, process: subprocess.Popen[bytes], until: float, cpu_until: float) -> bytes:
        assert process.stdout is not None
        pieces = [self._rest]
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            while b"\n" not in pieces[-1]:
                if ready.select(_TICK_S):
                    piece = os.read(process.stdout.fileno(), 1 << 20)
                    if not piece:
                        raise OSError("no reply")
                    pieces.append(piece)
                elif _cpu_s(process.pid) > cpu_until:
                    raise Overran("it took more CPU time on this answer than it may")
                elif time.monotonic() > until:
                    raise OSError("no reply in time")
        line, _, self._rest = b"".join(pieces).partition(b"\n")
        return line


def _cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, its own and those of children it waited for; 0 where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _HERTZ
