"""Containers, engines and services that die during training cost time only: the run is the one without the faults."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import docker
import pytest
from own_engine import OwnEngine, available, own_engine
from serving import ROOT, serving

from sandboxes.engines.docker import IMAGE, OWNER

STEPS = 6
RUN = (
    *("train", "rlvr", "--recipe", "nano_instruct", "--steps", str(STEPS), "--device", "cpu"),
    *("--set", "environments={code: {kind: code, share: 1, options: {size: 40, validation: 4}}}"),
    *("--set", "batch={prompts: 3, group: 4}", "--set", "rollouts.staleness=0", "--set", "rollouts.temperature=1.5"),
    *("--set", "validation={every_steps: 6, tasks: 4}"),
)
ONE = ("--workers", "1")
SOURCE = os.environ.get("MELLUM_SANDBOX_IMAGE", IMAGE)


def steps_of(directory: Path) -> list[dict[str, Any]]:
    path = directory / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("\n")]
    return [line for line in found if line["kind"] == "step"]


def surroundings(host: str | None = None) -> dict[str, str]:
    found = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return found | ({"DOCKER_HOST": host} if host else {})


def trained(directory: Path, *more: str, fault: Callable[[int], None], host: str | None = None) -> list[dict[str, Any]]:
    """A run with a fault after each of its first steps, told the process's id; the lines of its steps."""
    environment = surroundings(host)
    command = [sys.executable, "-m", "mellum_eval", *RUN, "--out", str(directory), *more]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            for step in range(1, STEPS - 1):
                while len(steps_of(directory)) < step and process.poll() is None:
                    time.sleep(0.02)
                fault(process.pid)
            said = process.communicate(timeout=280)[1]
        finally:
            process.kill()
    assert process.returncode == 0, said
    return steps_of(directory)


def what_was_learnt(steps: list[dict[str, Any]]) -> list[Any]:
    """All that a run depends on: a zero that is an engine's fault would change it from there on."""
    wanted = ("step", "reward", "outcomes", "groups", "dropped_unjudged", "tokens_learnt", "policy_loss", "grad_norm")
    return [[line.get(name) for name in wanted] for line in steps]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """By the other engine, at that."""
    out = tmp_path_factory.mktemp("rlvr") / "out"
    learnt = what_was_learnt(trained(out, "--sandbox", "local", *ONE, fault=lambda pid: None))
    assert [one[0] for one in learnt] == list(range(1, STEPS + 1)) and any(one[3] for one in learnt)
    return learnt


@pytest.mark.docker
def test_killed_containers_cost_time_only(undisturbed: list[Any], tmp_path: Path) -> None:
    client, killed = docker.from_env(), []

    def kill(pid: int) -> None:
        for container in client.containers.list(filters={"label": OWNER}, ignore_removed=True):
            if container.labels[OWNER].split("/")[-2] == str(pid):
                container.kill(signal.SIGKILL)
                killed.append(container.id)

    steps = trained(tmp_path / "out", "--sandbox", "docker", *ONE, fault=kill)
    assert len(killed) >= 2 and what_was_learnt(steps) == undisturbed
    client.close()


class Service:
    """`mellum-eval serve` at one address, killed and started again."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._running = ExitStack()
        self.start()

    def start(self) -> None:
        self._served = self._running.enter_context(serving("--port", str(self.port), "--workers", "1"))

    def kill(self) -> None:
        self._served.stop(signal.SIGKILL)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *exc: object) -> None:
        self._running.close()


def test_a_service_that_is_killed_costs_time_only(undisturbed: list[Any], tmp_path: Path) -> None:
    with Service() as service:
        kills = []

        def fall(pid: int) -> None:
            service.kill()
            kills.append(pid)
            time.sleep(1)
            service.start()

        steps = trained(tmp_path / "out", "--service", service.url, fault=fall)
    assert len(kills) == STEPS - 2 and what_was_learnt(steps) == undisturbed


def test_a_service_that_stays_dead_stops_training_and_resume_goes_on(undisturbed: list[Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "mellum_eval", *RUN, "--out", str(out), "--patience-s", "2"]
    command += ["--set", "checkpoints={every_steps: 1}"]
    with Service() as service:
        command += ["--service", service.url]
        with subprocess.Popen(command, env=surroundings(), stderr=subprocess.PIPE, text=True) as process:
            try:
                while len(steps_of(out)) < 2 and process.poll() is None:
                    time.sleep(0.02)
                service.kill()
                said = process.communicate(timeout=120)[1]
            finally:
                process.kill()
        last = said.splitlines()[-1]
        assert process.returncode == 2 and f"service at {service.url} has not answered for" in last, said
        assert last.endswith("start it again; mend that and continue with --resume") and "Traceback" not in said
        service.start()
        done = subprocess.run([*command, "--resume"], env=surroundings(), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert what_was_learnt(steps_of(out)) == undisturbed


@pytest.fixture(scope="module")
def engine() -> Iterator[OwnEngine]:
    if reason := available():
        if os.environ.get("MELLUM_REQUIRE_DOCKER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with own_engine(SOURCE) as own:
        yield own


@pytest.mark.docker
@pytest.mark.slow
def test_an_engine_that_is_killed_costs_time_only(undisturbed: list[Any], engine: OwnEngine, tmp_path: Path) -> None:
    faults = []

    def fall(pid: int) -> None:
        if len(faults) < 2:
            faults.append(pid)
            engine.stop(signal.SIGKILL if len(faults) == 1 else signal.SIGTERM)
            time.sleep(2)
            engine.start()

    steps = trained(tmp_path / "out", "--sandbox", "docker", *ONE, fault=fall, host=engine.host)
    assert len(faults) == 2 and what_was_learnt(steps) == undisturbed
