"""A run may be killed at any moment, more than once; gone on with, it ends in the very bytes of one that was not."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import pytest
from cli import TEXT_SUITES, call, start

SLOW = ("mock:mixed,latency=0.01", "--concurrency", "2", "--samples", "2")


def wait_for(path: Path, lines: int, timeout_s: float = 60.0) -> None:
    """Until the file has so many lines."""
    deadline = time.monotonic() + timeout_s
    while not path.exists() or path.read_bytes().count(b"\n") < lines:
        assert time.monotonic() < deadline, f"{path} never had {lines} lines"
        time.sleep(0.01)


def kill_and_resume(tmp_path: Path, suites: tuple[str, ...], seed: int) -> None:
    whole = call("run", *SLOW, *suites, "--out", "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    rng = random.Random(seed)
    first = start("run", *SLOW, *suites, "--out", "killed", cwd=tmp_path)
    wait_for(tmp_path / "killed" / "run.json", 1)
    time.sleep(rng.uniform(0, 0.5))
    first.kill()
    first.communicate()
    for _ in range(3):
        again = start("run", "--resume", "--out", "killed", cwd=tmp_path)
        before = (tmp_path / "killed" / "generations.jsonl").read_bytes().count(b"\n")
        wait_for(tmp_path / "killed" / "generations.jsonl", before + rng.randint(1, 20))
        time.sleep(rng.uniform(0, 0.1))
        again.kill()
        again.communicate()
    last = call("run", "--resume", "--out", "killed", cwd=tmp_path)
    assert last.returncode == 0, last.stderr
    assert (tmp_path / "killed" / "scores.json").read_bytes() == (tmp_path / "whole" / "scores.json").read_bytes()
    table = last.stdout.partition("\nrun ")[0]
    assert table == whole.stdout.partition("\nrun ")[0]
    for name in ("generations.jsonl", "verdicts.jsonl"):
        lines = [json.loads(line) for line in (tmp_path / "killed" / name).read_text().splitlines()]
        slots = [(line["key"], line["sample"]) for line in lines]
        assert len(slots) == len(set(slots)), f"something in {name} was done twice"


@pytest.mark.parametrize("seed", range(2))
def test_kill_9_at_any_moment(tmp_path: Path, seed: int) -> None:
    kill_and_resume(tmp_path, TEXT_SUITES, seed)


@pytest.mark.docker
def test_kill_9_while_containers_judge(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, ("-s", "quick_code", "--sandbox", "docker"), 7)


@pytest.mark.parametrize("which", ["SIGINT", "SIGTERM", "SIGTERM in the background"])
def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path, which: str) -> None:
    name, _, background = which.partition(" ")
    if background:  # a shell has what a script starts with & ignore SIGINT
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = start("run", *SLOW, *TEXT_SUITES, "--out", "run", cwd=tmp_path)
    finally:
        if background:
            signal.signal(signal.SIGINT, before)
    wait_for(tmp_path / "run" / "verdicts.jsonl", 5)
    process.send_signal(signal.Signals[name])
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert err == "mellum-eval: interrupted; continue with `mellum-eval run --resume --out run`\n"
    assert json.loads((tmp_path / "run" / "scores.json").read_text())["partial"] is True
    done = call("run", "--resume", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "scores.json").read_text())["partial"] is False


def test_two_writers_do_not_share_a_run(tmp_path: Path) -> None:
    process = start("run", *SLOW, *TEXT_SUITES, "--out", "run", cwd=tmp_path)
    try:
        wait_for(tmp_path / "run" / "generations.jsonl", 1)
        second = call("run", "--resume", "--out", "run", cwd=tmp_path)
        assert second.returncode == 2
        assert second.stderr.splitlines() == [
            "mellum-eval: run is being written by another process; wait for it or stop it"
        ]
    finally:
        process.kill()
        process.communicate()
