"""Runs a program as an ordinary user who exists for that program only: in a mount namespace with accounts of its own.

Nothing of the machine changes. Where the checkout, the virtual environment or its Python lie below a directory that
only root may enter (CI's home), that directory is replaced, for the program, by one that shows just these.
"""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path

UID = 61234
ROOT = Path(__file__).resolve().parent.parent


def _closed_ancestor(path: Path) -> Path | None:
    """The topmost directory on the way to a path that others may not enter."""
    for parent in reversed(path.parents):
        if not parent.stat().st_mode & stat.S_IXOTH:
            return parent
    return None


def _mounts(scratch: Path) -> list[str]:
    needed = {ROOT, Path(sys.prefix), Path(sys.base_prefix), Path(sysconfig.get_paths()["purelib"])}
    needed |= {path.resolve() for path in needed}
    closed = {path: ancestor for path in needed if (ancestor := _closed_ancestor(path)) is not None}
    # A path inside another one comes with it.
    kept = sorted(path for path in closed if not any(other in path.parents for other in closed))
    lines = []
    for i, path in enumerate(kept):
        aside = scratch / str(i)
        lines += [f"mkdir {aside}", f"mount --bind {shlex.quote(str(path))} {aside}"]
    lines += [
        f"mount -t tmpfs -o mode=755 none {shlex.quote(str(ancestor))}" for ancestor in sorted(set(closed.values()))
    ]
    for i, path in enumerate(kept):
        lines += [f"mkdir -p {shlex.quote(str(path))}", f"mount --bind {scratch / str(i)} {shlex.quote(str(path))}"]
    return lines


def run_as_user(
    program: str, *arguments: str, scratch: Path, ids: bool, first: str = ":", timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run Python source as the user.

    Args:
        program: The source; the checkout and its tests are importable.
        arguments: Of the program.
        scratch: An empty directory.
        ids: Whether the user has a range in /etc/subuid and /etc/subgid.
        first: A shell command to run as root before, in the mount namespace.
        timeout: Seconds.
    """
    home = scratch / "home"
    home.mkdir()
    os.chown(home, UID, UID)
    home.chmod(0o700)
    scratch.chmod(0o755)
    passwd, ranges = scratch / "passwd", scratch / "ranges"
    passwd.write_text(Path("/etc/passwd").read_text() + f"eve:x:{UID}:{UID}::{home}:/bin/sh\n")
    ranges.write_text("eve:2000000:65536\n" if ids else "")
    lines = [
        "set -e",
        *_mounts(scratch),
        f"mount --bind {passwd} /etc/passwd",
        *(f"touch /etc/{n}; mount --bind {ranges} /etc/{n}" for n in ("subuid", "subgid")),
        first,
        f"cd {home}",
        f"exec setpriv --reuid {UID} --regid {UID} --clear-groups "
        'env -i HOME=$PWD PATH=/usr/bin:/bin PYTHONPATH="$P" "$@"',
    ]
    environment = {**os.environ, "P": f"{ROOT}:{ROOT / 'tests'}"}
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "\n".join(lines), "sh"]
    command += [sys.executable, "-B", "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=timeout, check=False)
