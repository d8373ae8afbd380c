"""The real vLLM: its answers are our own model's, whichever way it is reached; what is killed is gone on with.

Servers take half a minute to start, so one that somebody else started serves several tests.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from processes import outlive
from vllm_environment import ARGUMENTS, START_S, save_for_vllm, serving_vllm, variables

from mellum_eval.backends import supervisor
from sandboxes.extract.reasoning import split
from sandboxes.verifiers.tool_text import calls_in

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]

Slot = tuple[str, str]
Own = Callable[..., Path]

CHAT = ("-s", "quick_math", "-s", "quick_tools", "-s", "quick_knowledge", "--limit", "8", "--max-tokens", "64")
RANKED = ("--base", "-s", "quick_knowledge", "--limit", "8")
LONG_CHOICES = ("-s", "truthfulqa:mc2", "--limit", "6")
SUPERVISED = ("--dtype", "float32", "--vllm-args", shlex.join(ARGUMENTS))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled models, `instruct` and `thinking`."""
    directory = tmp_path_factory.mktemp("models")
    for variant in ("instruct", "thinking"):
        save_for_vllm(variant, directory / variant)
    return directory


@pytest.fixture(scope="module")
def surroundings(data_dir: Path) -> dict[str, str]:
    return {**os.environ, **variables(), "PYTHONPATH": str(ROOT), "MELLUM_DATA_DIR": str(data_dir)}


@pytest.fixture(scope="module")
def own(models: Path, surroundings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Own:
    """Runs of our own backend in float32, each once: what vLLM is compared with."""
    done: dict[tuple[str, ...], Path] = {}

    def run(variant: str, *flags: str) -> Path:
        key = (variant, *flags)
        if key not in done:
            out = tmp_path_factory.mktemp("own") / "run"
            finished = evaluate(f"native:{models / variant}", out, surroundings, "--dtype", "float32", *flags)
            assert finished.returncode == 0, finished.stderr
            done[key] = out
        return done[key]

    return run


@pytest.fixture(scope="module")
def endpoint(models: Path, surroundings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that somebody else started, without a parser of calls; as the name of a model."""
    log_file = tmp_path_factory.mktemp("server") / "log"
    with serving_vllm(models / "instruct", log_file, surroundings) as url:
        yield f"openai:nano@{url}/v1"


def evaluate(model: str, out: Path, surroundings: dict[str, str], *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mellum_eval", "run", model, *flags, "--out", str(out)]
    return subprocess.run(command, env=surroundings, cwd=out.parent, capture_output=True, text=True, timeout=900)


def answers(out: Path) -> dict[Slot, dict[str, Any]]:
    # A last line without an end is still being written.
    lines = [json.loads(line) for line in (out / "generations.jsonl").read_text().split("\n")[:-1]]
    return {(line["suite"], line["problem"]): line for line in lines}


def outcomes(out: Path) -> dict[str, Any]:
    suites = json.loads((out / "scores.json").read_text())["suites"]
    return {name: suite["outcomes"] for name, suite in suites.items()}


def identity(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "run.json").read_text())["model"]
    return found


def servers(model: Path) -> set[int]:
    """Processes of vLLM's server for this model, without those it started; the supervisor is not one of them."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"vllm.entrypoints.openai.api_server" in words and str(model).encode() in words and b"-I" not in words:
            found.add(int(entry.parent.name))
    return found


def assert_same_answers(found: dict[Slot, dict[str, Any]], expected: dict[Slot, dict[str, Any]]) -> None:
    assert found.keys() == expected.keys() and expected
    for slot, line in expected.items():
        assert found[slot]["text"] == line["text"], slot
        assert found[slot]["finish"] == line["finish"], slot
        assert found[slot]["tokens"] == line["tokens"], slot


def assert_same_likelihoods(found: dict[Slot, dict[str, Any]], expected: dict[Slot, dict[str, Any]]) -> None:
    assert found.keys() == expected.keys() and expected
    for slot, line in expected.items():
        assert line["loglikelihoods"]
        assert found[slot]["loglikelihoods"] == pytest.approx(line["loglikelihoods"], abs=1e-3), slot


def test_an_endpoint_gives_our_own_models_answers_and_is_offered_tools_though_it_refuses_them(
    endpoint: str, own: Own, tmp_path: Path, surroundings: dict[str, str]
) -> None:
    url = endpoint.partition("@")[2]
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    asked = {"model": "nano", "messages": [{"role": "user", "content": "?"}], "max_tokens": 1, "tools": [tool]}
    assert httpx.post(f"{url}/chat/completions", json=asked, timeout=60).status_code == 400
    done = evaluate(endpoint, tmp_path / "run", surroundings, *CHAT)
    assert done.returncode == 0, done.stderr
    expected = own("instruct", *CHAT)
    assert_same_answers(answers(tmp_path / "run"), answers(expected))
    assert (tmp_path / "run" / "scores.json").read_bytes() == (expected / "scores.json").read_bytes()
    assert any("<tool_call>" in line["text"] for line in answers(expected).values()), "nothing was called"
    assert done.stderr.count("--tool-call-parser hermes") == 1, done.stderr
    assert identity(tmp_path / "run")["tool_calls"] == "in the text"


def test_an_endpoint_ranks_choices_as_our_own_model_does(
    endpoint: str, own: Own, tmp_path: Path, surroundings: dict[str, str]
) -> None:
    done = evaluate(endpoint, tmp_path / "run", surroundings, *RANKED)
    assert done.returncode == 0, done.stderr
    assert_same_likelihoods(answers(tmp_path / "run"), answers(own("instruct", *RANKED)))


def test_an_endpoint_is_held_to_choices(endpoint: str, tmp_path: Path, surroundings: dict[str, str]) -> None:
    # Whole sentences, which this model would not come upon by itself: that it says one of them is the server's doing.
    done = evaluate(endpoint, tmp_path / "run", surroundings, "--guided-choice", *LONG_CHOICES)
    assert done.returncode == 0, done.stderr
    for line in answers(tmp_path / "run").values():
        assert line["finish"] != "error" and line["text"] in "ABCDEFGHIJKLM" and not line["loglikelihoods"]


def test_parsers_split_what_our_own_model_says_in_one(
    models: Path, own: Own, tmp_path: Path, surroundings: dict[str, str]
) -> None:
    parsers = ("--reasoning-parser", "qwen3", "--tool-call-parser", "hermes")
    flags = ("-s", "quick_math", "-s", "quick_tools", *LONG_CHOICES, "--max-tokens", "128")
    done = evaluate(f"vllm:{models / 'thinking'}", tmp_path / "run", surroundings, *SUPERVISED, *parsers, *flags)
    assert done.returncode == 0, done.stderr
    expected = own("thinking", *flags)
    found, theirs = answers(tmp_path / "run"), answers(expected)
    assert found.keys() == theirs.keys()
    called = 0
    for slot, line in theirs.items():
        if line["loglikelihoods"]:
            continue
        parted = split(line["text"])
        assert (found[slot]["reasoning"] or "").strip() == (parted.reasoning or "").strip(), slot
        if found[slot]["tool_calls"]:
            called += 1
            calls = [{"name": call.name, "arguments": call.arguments} for call in calls_in(parted.answer or "")]
            assert found[slot]["tool_calls"] == calls, slot
        else:
            assert found[slot]["text"].strip() == (parted.answer or "").strip(), slot
    assert called and any(line["reasoning"] for line in found.values())
    ranked = {slot for slot, line in theirs.items() if line["loglikelihoods"]}
    assert_same_likelihoods({s: found[s] for s in ranked}, {s: theirs[s] for s in ranked})
    assert outcomes(tmp_path / "run") == outcomes(expected)
    model = identity(tmp_path / "run")
    assert model["scheme"] == "vllm" and model["vllm"].startswith("0.31") and len(model["sha256"]) == 64
    assert "Application startup complete" in (tmp_path / "run" / "vllm.log").read_text()
    assert not servers(models / "thinking")


def test_a_killed_server_and_a_killed_harness_cost_no_finished_sample(
    models: Path, own: Own, tmp_path: Path, surroundings: dict[str, str]
) -> None:
    # A copy, for the endpoint's server is not to be hit.
    model, out = shutil.copytree(models / "instruct", tmp_path / "instruct"), tmp_path / "killed"
    run = [sys.executable, "-m", "mellum_eval", "run"]
    flags = ("-s", "quick_math", "-s", "quick_tools", "--limit", "32", "--max-tokens", "64")
    command = [*run, f"vllm:{model}", *SUPERVISED, *flags, "--concurrency", "1", "--retries", "1", "--out", str(out)]
    kept: dict[Slot, dict[str, Any]] = {}
    for victim in ("server", "harness"):
        process = subprocess.Popen(command, env=surroundings, stderr=subprocess.PIPE, text=True)
        try:
            deadline = time.monotonic() + START_S
            while not (out / "generations.jsonl").exists() or len(finished(out)) < len(kept) + 5:
                assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
                time.sleep(0.02)
            process.send_signal(signal.SIGSTOP)  # so that it does not finish while its server is looked for
            (server,) = servers(model)
            pids = {server, *supervisor.descendants(server)}
            os.kill(server if victim == "server" else process.pid, signal.SIGKILL)
            process.send_signal(signal.SIGCONT)
            said = process.communicate(timeout=300)[1]
        finally:
            process.kill()
        assert process.returncode == (3 if victim == "server" else -signal.SIGKILL), said
        assert not outlive(pids, 60.0), "a server outlived its harness"
        now = finished(out)
        assert {slot: now[slot] for slot in kept} == kept, "a finished sample changed"
        assert len(now) < 64, "nothing was left to go on with"
        kept = now
        command = [*run, "--resume", "--out", str(out)]
    last = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=900)
    assert last.returncode == 0, last.stderr
    done = answers(out)
    assert {slot: done[slot] for slot in kept} == kept, "a finished sample changed"
    judged = [json.loads(line) for line in (out / "verdicts.jsonl").read_text().splitlines()]
    slots = [(line["key"], line["sample"]) for line in judged if line["score"] is not None]
    assert len(slots) == len(set(slots)) == len(done) == 64, "each is judged once"
    expected = own("instruct", *flags)
    assert_same_answers(done, answers(expected))
    assert (out / "scores.json").read_bytes() == (expected / "scores.json").read_bytes()
    assert not servers(model)


def finished(out: Path) -> dict[Slot, dict[str, Any]]:
    return {slot: line for slot, line in answers(out).items() if line["finish"] != "error"}


def test_a_model_that_does_not_load_is_one_line(tmp_path: Path, surroundings: dict[str, str]) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "no-such-model"}')
    done = evaluate(f"vllm:{tmp_path / 'model'}", tmp_path / "run", surroundings, *SUPERVISED, *CHAT)
    assert done.returncode == 3, done.stderr
    assert len(done.stderr.splitlines()) == 1 and "vllm.log" in done.stderr and "Traceback" not in done.stderr
