"""The real vLLM: its answers are our model's, in chat and base form; what is killed is gone on with, none is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from vllm_environment import ARGUMENTS, environment, save_for_vllm

from mellum_eval.backends.supervisor import descendants

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(900)]
SUITES = ("-s", "quick_math", "-s", "quick_tools", "-s", "quick_knowledge", "--limit", "8", "--max-tokens", "48")
SERVER = ("--dtype", "float32", "--vllm-args", " ".join(ARGUMENTS))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_for_vllm(tmp_path_factory.mktemp("models") / "nano")


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    return {**os.environ, **environment(), "PYTHONPATH": str(ROOT)}


def evaluate(model: str, out: Path, variables: dict[str, str], *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mellum_eval", "run", model, *flags, "--out", str(out)]
    return subprocess.run(command, env=variables, cwd=out.parent, capture_output=True, text=True, timeout=400)


def answers(out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "generations.jsonl").read_text().splitlines()]
    return {(line["suite"], line["problem"]): line for line in lines}


def servers(checkpoint: Path) -> list[int]:
    """vLLM's server for this checkpoint, and all that it started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"vllm.entrypoints.openai.api_server" in words and str(checkpoint).encode() in words and b"-I" not in words:
            found.append(int(entry.parent.name))
    return found + [child for pid in found for child in descendants(pid)]


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


def gone(pids: list[int], timeout_s: float = 60.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while any(map(runs, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


@contextmanager
def served(checkpoint: Path, directory: Path, variables: dict[str, str]) -> Iterator[str]:
    """A server that somebody else started, on a port."""
    import httpx

    port = 20000 + os.getpid() % 20000
    command = [variables["MELLUM_VLLM_PYTHON"], "-m", "vllm.entrypoints.openai.api_server", "--model", str(checkpoint)]
    command += ["--served-model-name", "nano", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    with (directory / "server.log").open("wb") as log:
        process = subprocess.Popen([*command, *ARGUMENTS], env=variables, stdout=log, stderr=log)
    try:
        for _ in range(1200):
            assert process.poll() is None, (directory / "server.log").read_text()[-3000:]
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.25)
        yield f"openai:nano@http://127.0.0.1:{port}/v1"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def test_both_ways_give_our_own_models_answers(checkpoint: Path, tmp_path: Path, variables: dict[str, str]) -> None:
    plain = ("--dtype", "float32", *SUITES)
    own = evaluate(f"native:{checkpoint}", tmp_path / "own", variables, *plain)
    assert own.returncode == 0, own.stderr
    there = evaluate(f"vllm:{checkpoint}", tmp_path / "vllm", variables, *SERVER, *SUITES)
    assert there.returncode == 0, there.stderr
    assert servers(checkpoint) == []
    with served(checkpoint, tmp_path, variables) as endpoint:
        # Without a parser of calls this server refuses tools; our own is told to leave the calls in the text.
        plain_suites = [flag for flag in SUITES if flag != "quick_tools"]
        plain_suites.remove("-s")
        other = evaluate(endpoint, tmp_path / "openai", variables, *plain_suites)
        ranked = evaluate(endpoint, tmp_path / "openai-ranked", variables, "--base", "-s", "quick_knowledge")
    assert other.returncode == 0, other.stderr
    assert ranked.returncode == 0, ranked.stderr
    expected = answers(tmp_path / "own")
    for way in ("vllm", "openai"):
        found = answers(tmp_path / way)
        shared = {slot: one for slot, one in expected.items() if way == "vllm" or slot[0] != "quick_tools"}
        assert found.keys() == shared.keys()
        for slot, generation in shared.items():
            assert found[slot]["text"] == generation["text"], (way, slot)
            assert found[slot]["tokens"]["prompt"] == generation["tokens"]["prompt"], (way, slot)
    manifest = json.loads((tmp_path / "vllm" / "run.json").read_text())
    assert manifest["model"]["scheme"] == "vllm" and manifest["model"]["vllm"].startswith("0.31")
    assert len(manifest["model"]["sha256"]) == 64
    assert "Application startup complete" in (tmp_path / "vllm" / "vllm.log").read_text()
    base = evaluate(f"native:{checkpoint}", tmp_path / "own-ranked", variables, "--base", "-s", "quick_knowledge")
    assert base.returncode == 0, base.stderr
    theirs = answers(tmp_path / "openai-ranked")
    for slot, generation in answers(tmp_path / "own-ranked").items():
        assert theirs[slot]["loglikelihoods"] == pytest.approx(generation["loglikelihoods"], abs=1e-3), slot


def test_ranking_a_killed_server_and_a_killed_harness(
    checkpoint: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    flags = ("--dtype", "float32", "--base", "-s", "quick_knowledge", "-s", "quick_math", "--max-tokens", "64")
    whole = evaluate(f"native:{checkpoint}", tmp_path / "own", variables, *flags)
    assert whole.returncode == 0, whole.stderr
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "mellum_eval", "run", f"vllm:{checkpoint}", *SERVER, *flags]
    command += ["--concurrency", "2", "--retries", "1", "--out", str(out)]
    kept: dict[tuple[str, str], dict[str, Any]] = {}
    for victim in ("server", "harness"):
        process = subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True)
        before = len(kept)
        deadline = time.monotonic() + 300
        while not (out / "generations.jsonl").exists() or len(answers(out)) < before + 5:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        pids = servers(checkpoint)
        assert pids
        os.kill(pids[0] if victim == "server" else process.pid, signal.SIGKILL)
        said = process.communicate(timeout=120)[1]
        assert process.returncode == (3 if victim == "server" else -9), said
        assert gone(pids), "a server outlived its harness"
        now = {slot: line for slot, line in answers(out).items() if line["finish"] != "error"}
        assert {slot: now[slot] for slot in kept} == kept, "a finished sample changed"
        kept = now
        command = [sys.executable, "-m", "mellum_eval", "run", "--resume", "--out", str(out)]
    last = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=400)
    assert last.returncode == 0, last.stderr
    done = answers(out)
    assert {slot: done[slot] for slot in kept} == kept
    judged = [json.loads(line) for line in (out / "verdicts.jsonl").read_text().splitlines()]
    slots = [(line["key"], line["sample"]) for line in judged if line["score"] is not None]
    assert len(slots) == len(set(slots)) == len(done), "each is judged once"
    for slot, generation in answers(tmp_path / "own").items():
        assert done[slot]["text"] == generation["text"], slot
        # One request for all choices, or one a choice: the same numbers.
        assert done[slot]["loglikelihoods"] == pytest.approx(generation["loglikelihoods"], abs=1e-3), slot


def test_a_model_that_does_not_load_is_one_line(tmp_path: Path, variables: dict[str, str]) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "no-such-model"}')
    done = evaluate(f"vllm:{tmp_path / 'model'}", tmp_path / "run", variables, *SERVER, *SUITES)
    assert done.returncode == 3, done.stderr
    assert len(done.stderr.splitlines()) == 1 and "vllm.log" in done.stderr and "Traceback" not in done.stderr
