"""Tasks of lm-evaluation-harness that this process has opened, each behind a process of its own.

A check of kind `lm_eval` names a task and a document; only a task that a suite has opened here can judge it, so a check
from elsewhere opens nothing. The process is started again where it ended or was ended.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from sandboxes.errors import SandboxError

WORKER = Path(__file__).with_name("lm_eval_worker.py")
OPEN_S = 3600.0
"""Seconds to load a task and make its prompts: its data may be on its way from the hub."""
_TICK_S = 0.2
_HERTZ = os.sysconf("SC_CLK_TCK")


class TaskRefused(Exception):
    """The task cannot be run: `why`, and of which sort (`package`, `name`, `data`, `kind`)."""

    def __init__(self, why: str, sort: str) -> None:
        super().__init__(why)
        self.why, self.sort = why, sort


class Overran(Exception):
    """Judging one answer took more CPU time than it may."""


class LmEvalTask:
    """One task. Calls may come from any thread; they are answered one after another."""

    def __init__(self, name: str, *, offline: bool) -> None:
        """Start the process and load the task.

        Args:
            name: Of a task that comes with the package, or the path of a YAML file.
            offline: Whether nothing may be downloaded.

        Raises:
            TaskRefused: Package, task or data are not there, or it is of a kind that cannot be run here.
        """
        if importlib.util.find_spec("lm_eval") is None:
            raise TaskRefused("lm-eval is not installed", "package")
        self._name, self._offline = name, offline
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self.facts: dict[str, Any] = {}
        atexit.register(self.close)
        with self._lock:
            self._start()

    def ask(self, do: str, *, wall_s: float = OPEN_S, cpu_s: float = float("inf"), **given: Any) -> Any:
        """One order to the process.

        Raises:
            TaskRefused: It cannot be done with this task.
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
        environment = {**os.environ, "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}
        if self._offline:
            environment["HF_HUB_OFFLINE"] = "1"
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        try:
            self.facts = self._exchange({"do": "open", "task": self._name}, OPEN_S, float("inf"))
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
            raise SandboxError(f"lm-eval's process ended ({type(error).__name__}: {error})") from None
        except Overran:
            self.close()
            raise
        if "refused" in answer:
            raise TaskRefused(answer["refused"], answer["sort"])
        if "failed" in answer:
            raise SandboxError(f"lm-eval failed: {answer['failed']}")
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
                    raise Overran("the task's rules took more CPU time on this answer than they may")
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


_opened: dict[str, LmEvalTask] = {}


def open_task(name: str, *, offline: bool) -> LmEvalTask:
    """The task of this name, opened at the first call.

    Raises:
        TaskRefused: As `LmEvalTask`.
    """
    if name not in _opened:
        _opened[name] = LmEvalTask(name, offline=offline)
    return _opened[name]


def opened_task(name: str) -> LmEvalTask | None:
    """The task of this name, if a suite has opened it here."""
    return _opened.get(name)
