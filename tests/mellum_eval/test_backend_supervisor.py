"""Nothing of a supervised server outlives whoever started it, whoever is killed, and however deep its processes are."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from processes import outlive

from mellum_eval.backends import supervisor

# A server that starts a process in a session of its own, which starts another one and ignores what it is told.
TREE = """
import subprocess, sys, time
inner = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)"
outer = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {inner!r}]); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", outer], start_new_session=True)
try:
    time.sleep(600)
except KeyboardInterrupt:
    pass
"""
HARNESS = """
import subprocess, sys, time
subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, start_new_session=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("victim", ["harness", "supervisor", "server", "harness by SIGTERM"])
def test_whoever_is_killed_all_are_gone(victim: str) -> None:
    supervised = [sys.executable, "-I", supervisor.__file__, sys.executable, "-c", TREE]
    harness = subprocess.Popen([sys.executable, "-c", HARNESS, *supervised])
    every: list[int] = []
    try:
        deadline = time.monotonic() + 60
        while len(tree := supervisor.descendants(harness.pid)) < 4:
            assert time.monotonic() < deadline, tree
            time.sleep(0.05)
        every = tree
        if victim == "supervisor":
            # Its own child dies with it; deeper ones are beyond what the kernel promises.
            subprocess.run(["kill", "-9", str(tree[0])], check=True)
            tree = tree[:2]
        elif victim == "server":
            subprocess.run(["kill", "-9", str(tree[1])], check=True)
        else:
            harness.send_signal(signal.SIGTERM if "SIGTERM" in victim else signal.SIGKILL)
        assert not outlive(tree, 60.0), victim
    finally:
        for pid in {*every, *supervisor.descendants(harness.pid)}:
            subprocess.run(["kill", "-9", str(pid)], stderr=subprocess.DEVNULL, check=False)
        harness.kill()
        harness.wait()


def test_a_servers_status_is_the_supervisors() -> None:
    for code, status in (("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)):
        command = [sys.executable, "-I", supervisor.__file__, sys.executable, "-c", code]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
            assert process.wait(60) == status
