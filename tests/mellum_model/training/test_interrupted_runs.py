"""Killed at any moment, a run goes on to the very bits that it would have reached; a full disk costs no checkpoint."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mellum_model import Mellum
from mellum_model.training.checkpoints import complete

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{HERE}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "interrupted_run.py"), str(directory), *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("straight")
    finish(start(directory))
    return directory


def losses(directory: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [(line["step"], line["loss"]) for line in lines if line["kind"] == "step"]


def test_kill_9_and_resume_is_bit_equal(straight: Path, tmp_path: Path) -> None:
    process = start(tmp_path)
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and process.poll() is None and len(complete(tmp_path)) < 1:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()
    finish(start(tmp_path, "--resume"))
    assert losses(tmp_path) == losses(straight) and [step for step, _ in losses(straight)] == list(range(1, 13))
    one, other = (Mellum.from_pretrained(path / "model") for path in (straight, tmp_path))
    for (name, value), again in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(value, again), name


def test_a_full_disk_names_the_file_and_keeps_the_last_checkpoint(straight: Path, tmp_path: Path) -> None:
    kept = complete(straight)[0]
    (tmp_path / "checkpoints").mkdir()
    shutil.copytree(kept, tmp_path / "checkpoints" / kept.name)
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    process = start(tmp_path, "--resume", "--limit", "20000")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert "File too large; the last complete checkpoint is" in out and kept.name in out and "--resume" in out
    assert len(out.strip().splitlines()) == 1 and "Traceback" not in err
    found = complete(tmp_path)
    assert [path.name for path in found] == [kept.name]
    assert {path.name: path.read_bytes() for path in found[0].iterdir()} == before
