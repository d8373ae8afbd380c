"""`mellum-eval sandbox` as a user meets it: proof that it works, figures, and one line where something is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sandboxes.engines.docker import connect
from sandboxes.errors import SandboxUnavailable

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = {"DOCKER_HOST": "unix:///nowhere.sock"}


def sandbox(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mellum_eval", "sandbox", *arguments],
        text=True,
        cwd=ROOT,
        timeout=120,
        capture_output=True,
        env={**os.environ, **environment},
    )


@pytest.fixture
def engine() -> None:
    try:
        connect().close()
    except SandboxUnavailable as missing:
        if os.environ.get("MELLUM_REQUIRE_DOCKER") == "1":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
def test_status_names_the_image_and_proves_that_it_works() -> None:
    done = sandbox("status", "--json", "--sandbox", "docker")
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    assert facts["healthy"] is True
    assert facts["engine"] == "docker"
    assert facts["image_id"].startswith("sha256:")
    assert len(facts["runtime_sha256"]) == 64
    assert facts["limits"]["network"] == "none"
    assert facts["languages"]["python"].startswith("Python 3.")
    assert facts["languages"]["cpp"].startswith(("g++", "the Docker engine has no image"))


def test_a_family_that_there_is_not_is_one_line_and_exit_2() -> None:
    done = sandbox("build", "--family", "cobol")
    assert done.returncode == 2
    assert "'cobol' is neither a language nor a family" in done.stderr


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
def test_bench_measures_every_way_in_one_run() -> None:
    done = sandbox("bench", "--json", "--seconds", "0.5", "--workers", "1", "--sandbox", "docker")
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert list(rows) == [
        "docker verdict",
        "docker session",
        "docker run per job",
        "docker exec per job",
        "fresh process per job",
        "bare fork and run",
        "evalplus untrusted_check",
    ]
    assert all(rows[name]["rate"] > 0 for name in list(rows)[:6])
    assert (
        rows["evalplus untrusted_check"]["rate"] or "mellum-eval[evalplus]" in rows["evalplus untrusted_check"]["note"]
    )
    assert rows["docker verdict"]["rate"] > 10 * rows["docker run per job"]["rate"]


@pytest.mark.parametrize("arguments", [("build",), ("build", "--from-debian"), ("status", "--sandbox", "docker")])
def test_a_missing_engine_is_one_line_and_exit_3(arguments: tuple[str, ...]) -> None:
    done = sandbox(*arguments, **NOWHERE)
    assert done.returncode == 3
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert "no Docker engine answers" in done.stderr and "apt install docker.io" in done.stderr


def test_without_docker_auto_takes_the_local_sandbox_and_says_so() -> None:
    done = sandbox("status", "--json", **NOWHERE)
    if done.returncode == 3:
        pytest.skip(done.stderr.strip())
    facts = json.loads(done.stdout)
    assert (facts["engine"], facts["healthy"]) == ("local", True)
    assert "no Docker engine answers" in facts["notice"]
    assert "\n" not in facts["notice"]


def test_contradicting_options_are_bad_usage() -> None:
    done = sandbox("build", "--from-debian", "--base-image", "x")
    assert done.returncode == 2
    assert "either --from-debian or --base-image" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_unknown_sandbox_is_bad_usage() -> None:
    done = sandbox("status", "--sandbox", "chroot")
    assert done.returncode == 2
    assert "chroot" in done.stderr
