"""Kernels in C for CPU, compiled on first use where a C compiler is at hand, and done without where none is.

Plain C behind `ctypes`: no header of torch's, so a compilation takes about two seconds and its result works with any
torch. It is kept in the user's cache, under a name made of the sources, the compiler and the processor.
`MELLUM_KERNELS=off` turns them off.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

_SOURCE = Path(__file__).parent / "decode.c"
_INCLUDED = tuple(sorted(_SOURCE.parent.glob("*.h")))
# No -ffast-math: linking with it changes how the whole process rounds.
_FLAGS = ("-std=gnu11", "-O3", "-march=native", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared")

log = logging.getLogger(__name__)


def _processor() -> str:
    """What `-march=native` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mellum-model" / "kernels"


def _compiler() -> str | None:
    return shutil.which(os.environ.get("CC") or "cc") or shutil.which("gcc")


def _compile(compiler: str, target: Path) -> None:
    """Compile into place: whoever reads the target meanwhile sees all of it or nothing."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        fresh = Path(scratch) / target.name
        # Linked without OpenMP's own library: torch has loaded one, and two pools of threads would fight.
        steps = (
            [compiler, *_FLAGS[:-1], "-c", str(_SOURCE), "-o", f"{scratch}/decode.o"],
            [compiler, "-shared", f"{scratch}/decode.o", "-o", str(fresh), "-lm"],
        )
        for step in steps:
            subprocess.run(step, check=True, capture_output=True, text=True, timeout=120)
        fresh.replace(target)


@functools.cache
def library() -> ctypes.CDLL | None:
    """The kernels, or None where they cannot be had; why is logged once."""
    if os.environ.get("MELLUM_KERNELS", "").lower() in ("off", "0", "no"):
        return None
    compiler = _compiler()
    if compiler is None:
        log.info("no C compiler (cc, gcc): decoding on CPU goes through torch alone, which is slower")
        return None
    sources = (file.read_text("utf-8") for file in (_SOURCE, *_INCLUDED))
    key = "\n".join((*sources, compiler, _processor(), *_FLAGS))
    target = _folder() / f"decode-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    try:
        if not target.is_file():
            _compile(compiler, target)
        elif target.stat().st_uid not in (0, os.getuid()):  # code of another user's is not run
            raise OSError(f"{target} belongs to another user")
        return ctypes.CDLL(str(target))
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines() or [""]
        log.warning("%s: no kernel from it, decoding goes through torch alone: %s", compiler, said[-1])
        return None
