"""Instances of SWE-bench's form: rows of the hub's files or of a file of one's own, and the checks they make.

A row has `instance_id`, `problem_statement`, `patch`, `test_patch`, `FAIL_TO_PASS` and `PASS_TO_PASS` (lists, or JSON
texts of lists) and says how its tests are run in one of three ways: by `test_cmd`, to which the files of the hidden
tests are appended, by `eval_script` (a script of the package swebench, with its marks), or by `repo` and `version` that
swebench knows. `image` (also `image_name`, `docker_image`) names its image; without one it is the published one.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from sandboxes.check import InstanceCheck, Limits
from sandboxes.test_logs import PYTEST, package_script
from sandboxes.verifiers.instance import paths_in
from suites.registry import UnknownSuite
from suites.sources import DataSource, read_jsonl, read_parquet

FOLDER = "/testbed"
LIMITS = Limits(cpu_s=1800, memory_mb=4096)
"""The reference gives the tests 1,800 seconds."""
UNKNOWN = "swebench"
"""Stands in a check for a command that the package is still to be asked for."""
_TEXTS = ("instance_id", "problem_statement", "patch", "test_patch")
_IMAGES = ("image", "image_name", "docker_image")
_NO_TESTS = frozenset({".json", ".png", ".csv", ".txt", ".md", ".jpg", ".jpeg", ".pkl", ".yml", ".yaml", ".toml"})
_START, _END = ">>>>> Start Test Output", ">>>>> End Test Output"
_HIDDEN_TESTS = re.compile(r"^git apply [^\n]*<<'(\w+)'\n.*?\n\1$", re.MULTILINE | re.DOTALL)
_RESET = re.compile(r"^git checkout [0-9a-f]{7,64} .*$", re.MULTILINE)


def rows(source: DataSource) -> Iterator[dict[str, Any]]:
    """The rows of a file: Parquet by its name, else one JSON object a line.

    Raises:
        UnknownSuite: A row is not of the form; names file, row and field.
    """
    read = read_parquet if source.file.endswith(".parquet") else read_jsonl
    number = 0
    try:
        for number, row in enumerate(read(source), 1):
            yield _checked(row, f"{source.file}, row {number}")
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UnknownSuite(f"{source.file}, row {number + 1}: no JSON object ({error})") from None


def check_of(row: Mapping[str, Any], limits: Limits = LIMITS) -> InstanceCheck:
    """The check of a row; of one that brings no command, without it (see `with_command`)."""
    installed = row.get("install_config") or {}
    command = row.get("test_cmd") or installed.get("test_cmd")
    setup, log = str(row.get("setup") or ""), str(row.get("log_parser") or installed.get("log_parser") or PYTEST)
    if isinstance(command, list):
        command = " && ".join(map(str, command))
    if command:
        command = f"{command} {shlex.join(test_files(row['test_patch']))}".rstrip()
    elif row.get("eval_script"):
        setup, command = commands_of(str(row["eval_script"]))
    else:
        command, log = UNKNOWN, UNKNOWN
    gold, hidden = set(paths_in(row["patch"])), set(paths_in(row["test_patch"]))
    return InstanceCheck(
        kind="instance",
        image=image_of(row),
        folder=str(row.get("workdir") or FOLDER),
        setup=setup,
        command=command,
        log=log,
        test_patch=row["test_patch"],
        may_change=sorted(gold - hidden),
        fail_to_pass=_list(row["FAIL_TO_PASS"]),
        pass_to_pass=_list(row["PASS_TO_PASS"]),
        limits=limits,
    )


async def with_command(check: InstanceCheck, row: Mapping[str, Any]) -> InstanceCheck:
    """The check with the command that the package swebench has for its repository, where the row brought none.

    Raises:
        SandboxUnavailable: The package is not installed.
        SandboxError: It does not know the repository, or its version.
    """
    if check.command != UNKNOWN:
        return check
    script, parser = await package_script(row)
    setup, command = commands_of(script)
    return check.model_copy(update={"setup": setup, "command": command, "log": parser})


def commands_of(script: str) -> tuple[str, str]:
    """What a script of swebench does before the tests, and the test command.

    Without the steps that put the hidden tests there: that is done here, before, and seen to have worked.
    """
    lines = script.splitlines()
    start = next((at for at, line in enumerate(lines) if _START in line), -1)
    end = next((at for at, line in enumerate(lines) if _END in line), len(lines))
    setup = "\n".join(line for line in lines[: max(start, 0)] if not line.startswith(("#!", "set -")))
    return _RESET.sub("", _HIDDEN_TESTS.sub("", setup)).strip(), "\n".join(lines[start + 1 : end]).strip()


def test_files(patch: str) -> list[str]:
    """The files of the hidden tests, as the package gives them to the test command: all but data files."""
    removed = set(re.findall(r"^--- a/(.+)\n\+\+\+ /dev/null$", patch, re.MULTILINE))
    return [path for path in paths_in(patch) if path not in removed and PurePosixPath(path).suffix not in _NO_TESTS]


def image_of(row: Mapping[str, Any]) -> str:
    """The image that a row names, else the one that the authors of SWE-bench have published for it."""
    named = next((str(row[key]) for key in _IMAGES if row.get(key)), "")
    key = str(row["instance_id"]).lower().replace("__", "_1776_")
    return named or f"swebench/sweb.eval.x86_64.{key}:latest"


def own_file(path: str) -> DataSource:
    """A file of the user's own as a source; nothing is known of its sum before.

    Raises:
        UnknownSuite: There is no such file.
    """
    file = Path(path).expanduser().absolute()
    if not file.is_file():
        raise UnknownSuite(f"swe_bench: there is no file {file}")
    return DataSource(file=str(file), sha256="", licence="the file's own", origin=f"file:{file}")


def _checked(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise UnknownSuite(f"{where}: no JSON object")
    for field in _TEXTS:
        if not isinstance(row.get(field), str) or not row[field].strip():
            raise UnknownSuite(f"{where}: {field}: a text is wanted")
    for field in ("FAIL_TO_PASS", "PASS_TO_PASS"):
        if _list(row.get(field)) is None or (field == "FAIL_TO_PASS" and not _list(row[field])):
            raise UnknownSuite(f"{where}: {field}: a list of names of tests is wanted, or a JSON text of one")
    if row.get("eval_type") == "fail_only":
        raise UnknownSuite(
            f"{where}: eval_type: fail_only takes tests that say nothing as passed; it is not judged here"
        )
    brings = row.get("test_cmd") or row.get("eval_script") or (row.get("install_config") or {}).get("test_cmd")
    if not brings and not (row.get("repo") and row.get("version") and row.get("base_commit")):
        raise UnknownSuite(f"{where}: test_cmd: wanted, or eval_script, or repo, version and base_commit")
    return row


def _list(value: Any) -> Any:
    """A list of texts, or None."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    good = isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(item, str) for item in value)
    return list(value) if good else None
