"""`run.json`: everything needed to say what was measured, and to measure it again. No names of people or machines."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mellum_eval import __version__
from mellum_eval.plan import PlannedSuite
from mellum_eval.records import Manifest
from mellum_eval.spec import RunSpec
from suites import registry
from suites.suite import Suite

# What can move a number: the model's side, the judge's side, and what the statistics are made of.
_PACKAGES = (
    *("torch", "transformers", "tokenizers", "safetensors", "vllm", "httpx", "datasets", "docker", "pydantic"),
    *("math-verify", "latex2sympy2_extended", "sympy", "langdetect", "numpy", "scipy"),
)


def left_out(spec: RunSpec, suites: Sequence[Suite]) -> list[str]:
    """The suites that a spec names and a plan has not, because something that they need is not at hand."""
    there = {suite.full_name for suite in suites}
    return [name for name in registry.expand(spec.suites) if name not in there]


def make_manifest(
    spec: RunSpec,
    planned: Sequence[PlannedSuite],
    model: Mapping[str, Any],
    sandbox: Mapping[str, Any],
    judge: Mapping[str, Any] | None = None,
    too_long: Sequence[str] = (),
) -> Manifest:
    """The manifest of a run that begins now.

    Args:
        spec: As given.
        planned: The suites as they will be asked.
        model: The backend's identity.
        sandbox: What the sandbox says of itself; empty where none is needed.
        judge: The judge model's identity, where there is one.
        too_long: Suites that the spec names and whose prompts do not fit the model's context.
    """
    return Manifest(
        created=now(),
        command=[redacted(argument) for argument in sys.argv],
        spec=redacted(spec.model_dump(mode="json")),
        model=redacted(dict(model)),
        suites=[suite.record() for suite in planned],
        seeds={"sampling": spec.seed},
        sandbox=dict(sandbox),
        judge=redacted(dict(judge or {})),
        versions=versions(),
        git=git_revision(),
        left_out=[name for name in left_out(spec, [suite.suite for suite in planned]) if name not in too_long],
        too_long=list(too_long),
        host=host(),
    )


def now() -> str:
    """UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def versions() -> dict[str, str]:
    """Versions of Python, of this package and of whatever is installed that can move a number."""
    found = {"python": platform.python_version(), "mellum-eval": __version__}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_revision() -> str | None:
    """The commit that this code is a checkout of, with `+changes` where files differ; None where it is no checkout."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD").strip()
        return f"{head}+changes" if _git(root, "status", "--porcelain", "--untracked-files=no").strip() else head
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True
    ).stdout


def host() -> dict[str, Any]:
    """The kind of machine: what explains a timing, not whose it is."""
    facts: dict[str, Any] = {
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
    try:
        cpu = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
        if cpu is not None:
            facts["cpu"] = cpu[1]
        memory = re.search(r"^MemTotal:\s*(\d+) kB", Path("/proc/meminfo").read_text("utf-8"), re.MULTILINE)
        if memory is not None:
            facts["memory_gib"] = round(int(memory[1]) / 2**20, 1)
    except OSError:
        pass
    return facts


_PASSWORD = re.compile(r"(?<=://)[^/\s@]+@(?=[^/\s@]+)")
_SECRET_NAME = re.compile(r"(?i)(api[_-]?key|token|secret|password|authorization)$")


def redacted(value: Any) -> Any:
    """`value` without passwords in addresses and without the values of keys that name a secret."""
    if isinstance(value, str):
        return _PASSWORD.sub("***@", value)
    if isinstance(value, Mapping):
        return {
            key: "***" if isinstance(item, str) and _SECRET_NAME.search(str(key)) else redacted(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redacted(item) for item in value]
    return value
