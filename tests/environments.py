"""Virtual environments of their own for reference packages whose pins conflict with ours or with each other.

Built once with pip and kept in the user's cache; the name carries a hash of the requirements, so a changed pin builds
a new one. Used by the parity tests and the benchmarks, never by the product.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

LM_EVAL = ("lm-eval[hf,math,ifeval]==0.4.13", "torch==2.13.0")
"""The harness with its models, and what MATH and IFEval need; a CPU torch where the index has one."""
EVALPLUS = ("evalplus==0.3.1", "numpy==2.4.6", "datasets==5.2.0")
"""The versions it was seen to work with on Python 3.11; it brings no torch."""
INSPECT = ("inspect-ai==0.3.285",)


def pinned_python(name: str, *requirements: str, no_deps: bool = False, without: Sequence[str] = ()) -> Path:
    """The interpreter of an environment that holds exactly these requirements.

    Args:
        name: For the directory, before the hash of the rest.
        requirements: What pip is to install.
        no_deps: Without what they depend on.
        without: Packages that they bring and that are taken out again.

    Raises:
        subprocess.CalledProcessError: pip could not install them; its output is on stderr.
    """
    digest = hashlib.sha256(repr((requirements, no_deps, sys.version_info[:2], *without)).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mellum-eval" / "environments"
    home = cache / f"{name}-{digest}"
    python = home / "bin" / "python"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / f"{name}-{digest}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # xdist workers ask at the same moment
        if not (home / "complete").exists():
            shutil.rmtree(home, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
            pip = [str(python), "-m", "pip"]
            command = [*pip, "install", "-q", *(["--no-deps"] if no_deps else []), *requirements]
            subprocess.run(command, check=True, stdout=sys.stderr)
            if without:
                subprocess.run([*pip, "uninstall", "-q", "-y", *without], check=True, stdout=sys.stderr)
            (home / "complete").touch()
    return python
