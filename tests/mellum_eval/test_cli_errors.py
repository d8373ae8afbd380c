"""Whatever ends a command, stderr gets one line and the shell gets the contract's exit code."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from mellum_eval.cli.failures import explain
from mellum_eval.errors import PrerequisiteMissing, UserError
from sandboxes.errors import SandboxUnavailable
from suites.sources import SourceAltered, SourceMissing

ROOT = Path(__file__).resolve().parents[2]


def call(*arguments: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-m", "mellum_eval", *arguments],
        text=True,
        cwd=ROOT,
        timeout=60,
        **{"capture_output": True, **kwargs},
    )


@pytest.mark.parametrize(
    ("error", "code", "part"),
    [
        (UserError("config.yaml: limit: not a number"), 2, "config.yaml: limit"),
        (typer.BadParameter("not that"), 2, "not that"),
        (SourceAltered("gsm8k/test.jsonl.gz: sha256 differs"), 2, "gsm8k"),
        (OSError(errno.ENOSPC, "No space left on device", "out/run.json"), 2, "out/run.json: No space left"),
        (PrerequisiteMissing("transformers is not installed", "pip install x"), 3, "pip install x"),
        (SandboxUnavailable("no Docker engine", "start it"), 3, "start it"),
        (SourceMissing("gsm8k is not at hand", "fetch it"), 3, "fetch it"),
        (ZeroDivisionError("division by zero"), 70, "MELLUM_DEBUG=1"),
    ],
)
def test_each_error_has_its_code_and_names_the_thing(error: Exception, code: int, part: str) -> None:
    try:
        raise error
    except Exception as raised:
        got, line = explain(raised)
    assert got == code
    assert part in line


@pytest.mark.parametrize("arguments", [("rum",), ("--nope",), ("run", "--nope")])
def test_bad_usage_is_one_line_and_exit_2(arguments: tuple[str, ...]) -> None:
    done = call(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "--help" in done.stderr


def test_a_near_miss_is_named() -> None:
    assert "did you mean run?" in call("rum").stderr


def test_no_verb_shows_the_help() -> None:
    done = call()
    assert done.returncode == 0
    assert "Commands:" in done.stdout


def test_a_reader_that_went_away_is_not_an_error_message() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "mellum_eval", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 141


def test_a_full_disk_under_stdout_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = call("--help", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert "No space left" in done.stderr and len(done.stderr.splitlines()) == 1
