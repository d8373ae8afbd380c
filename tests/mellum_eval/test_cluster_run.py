"""Whole runs on a Ray cluster of two nodes: the scores of one machine, and a node that dies in the middle."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray_nodes import NODE, environment, two_nodes

from mellum_eval.cluster import wire

pytest.importorskip("ray", reason="pip install 'mellum-eval[ray]'")
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    yield from two_nodes()


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mellum_eval", "run", *arguments],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ran(*arguments: str, cwd: Path) -> None:
    process = start(*arguments, cwd=cwd)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err


def scores(path: Path) -> bytes:
    return (path / "scores.json").read_bytes()


def slots(path: Path, file: str) -> list[tuple[str, int]]:
    return [(line["key"], line["sample"]) for line in map(json.loads, (path / file).read_text().splitlines())]


@pytest.mark.parametrize(
    "model",
    [
        ("mock:mixed", "-s", "quick_math", "-s", "quick_tools", "--samples", "2"),
        ("nano", "-s", "quick_code", "-s", "quick_safety", "--limit", "8", "--dtype", "float32"),
    ],
    ids=["mock", "native"],
)
def test_the_scores_are_those_of_one_machine(cluster: Any, tmp_path: Path, model: tuple[str, ...]) -> None:
    ran(*model, "--sandbox", "local", "--out", "one", cwd=tmp_path)
    ran(*model, "--sandbox", "local", "--workers", "1", "--ray", cluster.address, "--out", "many", cwd=tmp_path)
    assert scores(tmp_path / "many") == scores(tmp_path / "one")
    manifest = json.loads((tmp_path / "many" / "run.json").read_text())
    assert manifest["sandbox"]["ray"], "the nodes' sandboxes are on record"
    ran("replay:many", "--ray", cluster.address, "--sandbox", "local", "--workers", "1", "--out", "again", cwd=tmp_path)
    assert scores(tmp_path / "again") == scores(tmp_path / "one")


def test_a_node_lost_in_the_middle_costs_its_unfinished_samples_alone(cluster: Any, tmp_path: Path) -> None:
    work = ("mock:mixed,latency=0.3", "-s", "quick_math", "-s", "quick_tools", "--concurrency", "2")
    ran("mock:mixed", *work[1:], "--sandbox", "local", "--out", "one", cwd=tmp_path)
    process = start(*work, "--sandbox", "local", "--workers", "1", "--ray", cluster.address, "--out", "m", cwd=tmp_path)
    answers = tmp_path / "m" / "generations.jsonl"
    deadline = time.monotonic() + 120
    while not answers.exists() or answers.read_bytes().count(b"\n") < 20:
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.05)
    before = answers.read_text()
    cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
    try:
        _, err = process.communicate(timeout=200)
    finally:
        cluster.add_node(**NODE)
    assert process.returncode == 0, err
    assert answers.read_text().startswith(before), "what was finished stayed"
    for file in ("generations.jsonl", "verdicts.jsonl"):
        assert len(slots(tmp_path / "m", file)) == len(set(slots(tmp_path / "m", file))) == 80
    # The suites' names and settings are the same; the mock's name differs by its latency, which no score holds.
    assert scores(tmp_path / "m") == scores(tmp_path / "one")


def test_replies_cross_as_text() -> None:
    from mellum_eval.backends.base import Completion, Failure, Request
    from suites.problem import Message, Prompt
    from suites.sampling import Sampling

    call = {"name": "f", "arguments": {"x": float("nan"), "big": 10**5000}}
    message = Message("assistant", "hi\ud800", tool_calls=({"name": "a", "arguments": {"x": [1]}},))
    request = Request(
        "k",
        "s",
        "p",
        3,
        Prompt(messages=(message,), tools=({"a": 1},), choices=("a",)),
        Sampling(seed=5),
        gold_calls=[],
    )
    assert wire.request_of(wire.request_text(request, ranked=True)) == (True, request)
    told = wire.reply_of(
        wire.reply_text(Completion("\ud800", "why", (call,), "stop", {"prompt": 3}, 0.5, (float("-inf"), -1.25)))
    )
    assert isinstance(told, Completion)
    assert (told.text, told.reasoning, list(told.loglikelihoods)) == ("\ud800", "why", [float("-inf"), -1.25])
    assert dict(told.tool_calls[0])["name"] == "f"
    assert wire.reply_of(wire.reply_text(Failure("away"))) == Failure("away")


def test_without_a_cluster_it_says_so_at_once(tmp_path: Path) -> None:
    process = start("mock:gold", "--ray", "127.0.0.1:1", "--out", "none", cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (3, ""), err
    assert len(err.splitlines()) == 1 and "no Ray cluster answers at 127.0.0.1:1" in err
    assert not (tmp_path / "none").exists()
