"""A Docker engine of a test's own, to kill, restart and fill up: the machine's is other people's."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker


class OwnEngine:
    """A second dockerd on its own socket and directories, without a network."""

    def __init__(self, home: Path, *, options: tuple[str, ...] = (), crun: bool = False) -> None:
        self.home = home
        self.host = f"unix://{home}/docker.sock"
        command = ["dockerd", "--data-root", f"{home}/data", "--exec-root", f"{home}/exec", "-H", self.host]
        command += ["-p", f"{home}/docker.pid", "--bridge", "none", "--iptables=false", "--ip-forward=false"]
        command += ["--ip-masq=false", *options]
        if crun:
            # crun refuses a hybrid cgroup tree: a mount namespace without version 2's half shows it version 1 alone.
            script = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'
            command += ["--add-runtime", "crun=/usr/bin/crun"]
            command = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", *command]
        # In a network of its own: told to use no bridge, dockerd takes the machine's docker0 away from its engine.
        self._command = ["unshare", "--net", *command]
        self._process: subprocess.Popen[bytes] | None = None

    def client(self) -> docker.DockerClient:
        return docker.DockerClient(base_url=self.host, timeout=120)

    def start(self) -> None:
        """Start it and wait until it answers."""
        (self.home / "docker.pid").unlink(missing_ok=True)
        with open(self.home / "dockerd.log", "ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 90
        while True:
            try:
                client = self.client()
                client.ping()
                client.close()
                return
            except Exception:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    tail = (self.home / "dockerd.log").read_text("utf-8", "replace")[-1500:]
                    raise RuntimeError(f"the test's own engine does not start: {tail}") from None
                time.sleep(0.2)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it and wait: SIGTERM takes its containers down, SIGKILL leaves them to the next start."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None

    def load(self, image: str) -> None:
        """Copy an image from the machine's engine."""
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saving:
            subprocess.run(
                ["docker", "-H", self.host, "load", "-q"], stdin=saving.stdout, check=True, capture_output=True
            )


@contextmanager
def own_engine(image: str, *, options: tuple[str, ...] = (), crun: bool = False) -> Iterator[OwnEngine]:
    """A running engine with that image; everything of it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="mellum-engine-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3g", "none", name], check=True)
        engine = OwnEngine(home, options=options, crun=crun)
        try:
            engine.start()
            engine.load(image)
            yield engine
        finally:
            engine.stop()
            with open("/proc/self/mounts", encoding="utf-8") as mounts:
                below = [line.split()[1] for line in mounts if line.split()[1].startswith(name)]
            for mount in reversed(below):
                subprocess.run(["umount", "-l", mount], check=False)


def available() -> str:
    """Why there can be no engine of one's own here, '' if there can."""
    from shutil import which

    if os.geteuid() != 0:
        return "not root"
    return "" if which("dockerd") else "dockerd is not installed"
