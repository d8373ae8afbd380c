"""The real service in a process of its own, as a user starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class Served:
    """A running service: its URL, its process, and what it said on stderr."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        self.url = ""
        assert process.stderr is not None
        for line in process.stderr:
            self.said.append(line)
            if found := re.search(r"serving at (http://\S+) ", line):
                self.url = found.group(1)
                break
        self._rest = threading.Thread(target=self._read, daemon=True)
        self._rest.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.said.extend(self.process.stderr)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait for its end."""
        self.process.send_signal(number)
        status = self.process.wait(60)
        self._rest.join(10)
        return status


@contextmanager
def serving(*arguments: str, **environment: str) -> Iterator[Served]:
    """Start `mellum-eval serve` on a free port, and kill it at the end if it still runs."""
    command = [sys.executable, "-m", "mellum_eval", "serve", "--port", "0"]
    if "--sandbox" not in arguments:
        command += ["--sandbox", "local", "--workers", "2"]
    process = subprocess.Popen(
        [*command, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        served = Served(process)
        assert served.url, "".join(served.said)
        yield served
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def serve_and_end(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Start it where it must refuse."""
    command = [sys.executable, "-m", "mellum_eval", "serve", *arguments]
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
