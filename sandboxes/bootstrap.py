"""How the runtime gets into a confinement: as source text, over the stream, before the first frame.

The process an engine starts is `command()`: a Python that reads one length-prefixed JSON object from its stdin and runs
it. The object holds the sources of `sandboxes/runtime/`, the name of the role's child program, and the confinement.
So an image needs a Python and nothing of ours, and the manifest can name exactly what judged (`runtime_sha256`).
"""

from __future__ import annotations

import functools
import hashlib
import json
import struct
from dataclasses import asdict
from importlib.resources import files

from sandboxes.engines.base import Confinement
from sandboxes.sandbox import Role

CHILD_PROGRAMS = {Role.ARENA: "candidate", Role.JUDGE: "judge"}

_BOOT = """\
import sys
sys.path[:] = [p for p in sys.path if p]
import json, os
def take(n):
    b = b""
    while len(b) < n:
        c = os.read(0, n - len(b))
        if not c: os._exit(0)
        b += c
    return b
s = json.loads(take(int.from_bytes(take(4), "little")))
exec(compile(s["sources"]["loader"], "<sandboxes.runtime.loader>", "exec"), {"__name__": "loader", "shipment": s})
"""


def command() -> list[str]:
    """The process to start: no site packages, no user site, nothing of the environment's paths.

    Engines run it with `PYTHONHASHSEED=0` in its environment (so not `-I`, which ignores it): the order of a set of
    strings must not decide a verdict.
    """
    return ["python3", "-s", "-S", "-B", "-c", _BOOT]


ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/work/job",
    "LANG": "C.UTF-8",
    "TMPDIR": "/tmp",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
"""The whole environment of everything inside. One BLAS thread, since a job's CPU time is what is limited."""


@functools.cache
def sources() -> dict[str, str]:
    """Module name to source text of everything in `sandboxes/runtime/`."""
    found = (f for f in files("sandboxes.runtime").iterdir() if f.name.endswith(".py"))
    return {f.name.removesuffix(".py"): f.read_text("utf-8") for f in found}


@functools.cache
def runtime_sha256() -> str:
    """Content hash of the runtime, for the manifest."""
    text = json.dumps(sources(), sort_keys=True).encode()
    return hashlib.sha256(_BOOT.encode() + text).hexdigest()


def shipment(role: Role, confinement: Confinement, *, child: str | None = None, extra: str | None = None) -> bytes:
    """The bytes to write first.

    Args:
        role: Decides the child program.
        confinement: What the supervisor must know.
        child: Another child program than the role's (tests).
        extra: Source of a further runtime module, named `extra` (tests).
    """
    texts = dict(sources())
    if extra is not None:
        texts["extra"] = extra
    blob = json.dumps(
        {
            "sources": texts,
            "child": child or CHILD_PROGRAMS[role],
            "confinement": asdict(confinement),
            "environment": ENVIRONMENT | {"PATH": ":".join([*confinement.search, ENVIRONMENT["PATH"]])},
        }
    ).encode()
    return struct.pack("<I", len(blob)) + blob
