"""`mellum-eval train rlvr`: verifiers as rewards, a run that is killed and gone on with, and what is wrong named."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from serving import ROOT

from mellum_eval.cli import _run
from mellum_eval.cli.environments import openers
from mellum_eval.rewards import close, remote
from mellum_eval.rewards.options import Options
from mellum_model.post_training.rlvr.environment import GoOn, Judged

SMALL = (
    *("--recipe", "nano_instruct", "--steps", "3", "--set", "batch={prompts: 2, group: 2}"),
    *("--set", "validation={every_steps: 3, tasks: 4}", "--set", "checkpoints={every_steps: 1}"),
    *("--sandbox", "local", "--workers", "1"),
)


@pytest.mark.parametrize("kind", ["code", "math", "tools", "instructions", "choice", "safety"])
def test_gold_is_rewarded_and_nonsense_is_not(kind: str) -> None:
    environment = openers(Options(sandbox="local", workers=1))[kind]({"size": 6, "validation": 3})
    for side, name in (("train", "train"), ("validation", "held_out")):
        tasks = environment.tasks(side)
        assert tasks and all(f"/{name}/" in task.id for task in tasks)
    task = environment.tasks("train")[0]
    problem = environment._problems[task.id]
    right = environment.begin(task).answer(problem.gold, "stop").result(60)
    assert isinstance(right, Judged) and (right.reward, right.passed) == (1.0, True)
    wrong = environment.begin(task).answer("<think>for ever", "length").result(60)
    assert isinstance(wrong, Judged) and wrong.reward == 0.0 and wrong.outcome != "infra_error"
    close()


def test_a_repair_is_told_of_the_shown_tests_alone_and_rewarded_by_all() -> None:
    environment = openers(Options(sandbox="local", workers=1))["repair"]({"size": 4, "shown": 2})
    task = environment.tasks("train")[0]
    problem = environment._problems[task.id]
    check = problem.check
    shown = dict(zip((repr(call) for call in check.calls[:2]), check.expected[:2], strict=True))
    assert all(repr(value) in task.messages[-1]["content"] for value in shown.values())
    cheat = f"```python\ndef {check.entry_point}(*a):\n    return {shown!r}.get(repr(list(a)))\n```"
    episode = environment.begin(task)
    assert not episode.last
    first = episode.answer("```python\ndef nothing(): pass\n```", "stop").result(60)
    assert isinstance(first, GoOn) and episode.last
    hidden = [repr(value) for value in check.expected[2:] if value not in check.expected[:2]]
    assert not any(f" {value}" in first.messages[0]["content"] for value in hidden if len(value) > 3)
    second = episode.answer(cheat, "stop").result(60)
    assert isinstance(second, Judged) and not second.passed and second.reward < 1
    done = environment.begin(task).answer(problem.gold, "stop").result(60)
    assert isinstance(done, Judged) and done.passed
    close()


def test_bad_options_are_named() -> None:
    made = openers(Options(sandbox="local", workers=1))
    for kind, options, says in (
        ("math", {"sise": 3}, "no such option: sise"),
        ("code", {"levels": [4]}, "levels: a list of 1, 2 and 3"),
        ("suite", {}, "name: the name of a suite"),
        ("suite", {"name": "gsm9k"}, "name: unknown suite 'gsm9k'"),
        ("suite", {"name": "quick_math"}, "name: quick_math is generated"),
    ):
        with pytest.raises(ValueError, match=says):
            made[kind](options)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--recipe", "nope"), "nope: no such recipe file, and built in are mellum2_12b_instruct"),
        (("--recipe", "nano_instruct", "--set", "batch.gruop=3"), "batch.gruop: no such field"),
        (("--recipe", "nano_instruct", "--set", "environments.math.kind=maths"), "environments.math.kind: 'maths'"),
        (
            ("--recipe", "nano_instruct", "--set", "environments.math.options={sise: 3}"),
            "environments.math.options: no",
        ),
        (("--recipe", "nano_instruct", "--set", "algorithm.method=ppo"), "algorithm.method: "),
        (("--recipe", "nano_instruct", "--from", "nowhere"), "nowhere"),
        (
            ("--recipe", "nano_instruct", "--service", "there:8080"),
            "--service: an address such as http://10.0.0.5:8080",
        ),
        (
            ("--recipe", "nano_instruct", "--service", "http://there", "--workers", "2"),
            "--service: sandbox, workers and",
        ),
        (("--recipe", "nano_instruct", "--set", "rollouts.sampler=vllm"), "rollouts.servers: given where"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: tuple[str, ...], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(["train", "rlvr", *arguments, "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and says in err


def test_a_service_that_is_not_there_is_said_before_anything_is_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "START_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    arguments = ["train", "rlvr", "--recipe", "nano_instruct", "--service", url, "--out", str(tmp_path / "out")]
    assert _run(arguments) == 3
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and f"no verifier service answers at {url}" in err
    assert "start it with: mellum-eval serve" in err and not (tmp_path / "out").exists()
    close()


def test_a_dry_run_counts_the_report_s_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["train", "rlvr", "--recipe", "mellum2_12b_instruct", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "12,149,923,072 parameters" in out and "500 steps, each 384 prompts x 16 rollouts" in out
    assert "4,096 at most learnt from" in out


def test_killed_it_goes_on_and_ends_with_a_model(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mellum_eval", "train", "rlvr", *SMALL, "--out", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    checkpoints = tmp_path / "out" / "checkpoints"
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        deadline = time.monotonic() + 150
        while not list(checkpoints.glob("*/.metadata")):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150)
    assert refused.returncode == 2 and "--resume" in refused.stderr
    done = subprocess.run([*command, "--resume"], env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert "wall time after the first step: waiting on rollouts" in done.stderr and "held-out pass@1" in done.stdout
    kinds = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in kinds if line["kind"] == "step"] == [1, 2, 3]
    assert (tmp_path / "out" / "model" / "model.safetensors").exists()


def test_every_environment_of_the_recipes_is_there() -> None:
    from mellum_model.post_training.rlvr.recipe import BUILT_IN, load_rlvr_recipe

    made = openers(Options())
    for path in BUILT_IN.glob("*.yaml"):
        for section in load_rlvr_recipe(path.stem).environments.values():
            assert section.kind in made
