"""What a test run's output says of each test: pytest's own summary, or by the parsers of the package swebench.

Output is the candidate's as much as the tests': a status read here can be forged (see docs/suites.md).
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from sandboxes.errors import SandboxError, SandboxUnavailable
from sandboxes.line_process import LineProcess, Overran, Refused

PYTEST = "pytest"
WORKER = Path(__file__).with_name("swe_bench_worker.py")
INSTALL = 'pip install "mellum-eval[swe-bench]"'
PARSE_CPU_S = 60.0
_SUMMARY = re.compile(r"^=+ short test summary info =+$", re.MULTILINE)
_LINE = re.compile(r"^(PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS) (\S.*)$", re.MULTILINE)
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_WORST_FIRST = ("ERROR", "FAILED", "SKIPPED", "XPASS", "XFAIL", "PASSED")


async def statuses(log: str, parser: str) -> Mapping[str, str]:
    """Test → status, of those that the log names.

    Raises:
        SandboxError: The package could not read it.
        SandboxUnavailable: The package is not installed.
    """
    if parser == PYTEST:
        return pytest_statuses(log)
    try:
        found: Mapping[str, str] = await asyncio.to_thread(_ask, "parse", parser=parser, log=log)
    except Overran:
        return {}
    return found


async def package_script(row: Mapping[str, Any]) -> tuple[str, str]:
    """The script by which the package evaluates an instance that brings none, and the name of its log's parser.

    Raises:
        SandboxError: The package knows no such repository or version.
        SandboxUnavailable: The package is not installed.
    """
    wanted = ("repo", "version", "base_commit", "test_patch", "instance_id")
    made = await asyncio.to_thread(_ask, "script", row={name: row[name] for name in wanted})
    return made["script"], made["parser"]


def pytest_statuses(log: str) -> dict[str, str]:
    """The lines of the last "short test summary info" of a run with `-rA`.

    What tests printed stands before it. A test with several statuses has the worst. Names are also kept up to their
    first blank: so data sets that were made with such a parser name parametrised tests.
    """
    text = _ESCAPES.sub("", log).replace("\r\n", "\n")
    heads = list(_SUMMARY.finditer(text))
    found: dict[str, str] = {}
    if not heads:
        return found
    for match in _LINE.finditer(text, heads[-1].end()):
        status, rest = match[1], match[2]
        name = rest.partition(" - ")[0].strip() if status in ("FAILED", "ERROR", "XFAIL", "XPASS") else rest.strip()
        for known in {name, name.split()[0]}:
            found[known] = min(found.get(known, status), status, key=_WORST_FIRST.index)
    return found


@cache
def _package() -> LineProcess:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return LineProcess(WORKER, kept)


def _ask(do: str, **given: Any) -> Any:
    if importlib.util.find_spec("swebench") is None:
        raise SandboxUnavailable("swebench, which knows its repositories' tests, is not installed", f"run `{INSTALL}`")
    try:
        return _package().ask(do, wall_s=20 * PARSE_CPU_S, cpu_s=PARSE_CPU_S, **given)
    except Refused as error:
        raise SandboxError(str(error)) from error
