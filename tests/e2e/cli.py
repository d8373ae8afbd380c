"""The command as a user calls it: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT_SUITES = ("-s", "quick_tools", "-s", "quick_safety", "-s", "quick_knowledge")
"""Suites that need no sandbox: 120 problems, judged at once."""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mellum_eval", *arguments]


def environment(**extra: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in {"MELLUM_DEBUG", "OPENAI_API_KEY", "OPENAI_BASE_URL"}}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **extra}


def call(*arguments: str, cwd: Path, timeout: float = 120, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=cwd, env=environment(**extra), capture_output=True, text=True, timeout=timeout
    )


def start(*arguments: str, cwd: Path, **extra: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments),
        cwd=cwd,
        env=environment(**extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
