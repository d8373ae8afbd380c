"""Every command of the README is run, as it stands or with what a test adds to make it short; none is forgotten."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from cli import ROOT, call, environment

SAME = ""
COMMANDS = {
    # README's command: what is added to it, its exit code, and words that its output holds.
    "mellum-eval run hf:Qwen/Qwen3-4B --suite humaneval_plus --suite gsm8k": ("--limit 1", 3, "Qwen/Qwen3-4B"),
    "mellum-eval run openai:my-model@http://127.0.0.1:8000/v1 --suite mbpp_plus --samples 10 --temperature 0.8": (
        "--limit 1 --retries 0",
        3,
        "http://127.0.0.1:8000/v1 does not answer",
    ),
    "mellum-eval run replay:runs/earlier --suite ifeval": ("--limit 3", 0, "ifeval"),
    "mellum-eval report runs/* --baselines mellum2-report --out leaderboard": (SAME, 0, "report.html"),
    "mellum-eval compare runs/a runs/b": (SAME, 0, "quick_tools"),
    "mellum-eval data status": (SAME, 0, "humaneval_plus/HumanEvalPlus.jsonl.gz"),
    "mellum-eval suites list": (SAME, 0, "humaneval_plus"),
    "mellum-eval suites validate humaneval_plus": (SAME, 0, "humaneval_plus: gold 164/164, empty 0/164"),
    "mellum-eval sandbox status": (SAME, 0, "image"),
    "mellum-eval sandbox bench": ("--seconds 0.3", 0, "docker run per job"),
    "mellum-eval doctor": (SAME, 0, "sandbox: docker"),
    "mellum-eval train pretrain --recipe mellum2_12b --dry-run": (SAME, 0, "12,578,294,528 parameters (1 MTP layer)"),
}
ELSEWHERE = {
    # Where the others are run.
    "mellum-eval sandbox build": "tests/sandboxes/test_image.py; a registry is needed",
    "mellum-eval sandbox build --from-debian": ".ci/run",
    "mellum-eval data fetch NAME": "tests/suites/test_sources.py",
    "mellum-eval data contamination CORPUS...": "tests/mellum_eval/test_contamination.py",
    "mellum-eval serve --port 8080": "tests/mellum_eval/test_service.py",
}
PIPED = re.compile(r"^echo .*?\n.*mellum-eval verify$", re.M)


def readme_commands() -> set[str]:
    text = (ROOT / "README.md").read_text("utf-8")
    lines = [
        line.split("  #")[0].strip() for block in re.findall(r"```\n(.*?)```", text, re.S) for line in block.split("\n")
    ]
    found = {
        line.split("&&")[-1].strip()
        for line in lines
        if "mellum-eval" in line and not line.startswith(("|", "python3"))
    }
    inline = {c for c in re.findall(r"`(mellum-eval [^`]+)`", text) if " " in c}
    return found | inline


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the runs that the README speaks of, and `mellum-eval` on the PATH."""
    path = tmp_path_factory.mktemp("readme")
    for name, model, suite in (
        ("earlier", "mock:mixed", "ifeval"),
        ("a", "mock:mixed", "quick_tools"),
        ("b", "mock:gold", "quick_tools"),
    ):
        made = call("run", model, "-s", suite, "--limit", "3", "--out", f"runs/{name}", cwd=path)
        assert made.returncode == 0, made.stderr
    script = path / "bin" / "mellum-eval"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m mellum_eval "$@"\n')
    script.chmod(0o755)
    return path


def shell(command: str, place: Path) -> subprocess.CompletedProcess[str]:
    env = environment(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    env["PATH"] = f"{place / 'bin'}:{env['PATH']}"
    return subprocess.run(["bash", "-c", command], cwd=place, env=env, capture_output=True, text=True, timeout=280)


def test_no_command_of_the_readme_is_forgotten() -> None:
    assert readme_commands() == set(COMMANDS) | set(ELSEWHERE)


@pytest.mark.docker
@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_does_what_the_readme_says(command: str, place: Path, data_dir: Path) -> None:
    added, code, words = COMMANDS[command]
    done = shell(f"{command} {added}", place)
    assert done.returncode == code, done.stderr
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.docker
def test_the_piped_job_is_judged(place: Path) -> None:
    (command,) = PIPED.findall((ROOT / "README.md").read_text("utf-8").replace(" \\\n", "\n"))
    done = shell(command.replace("\n", " "), place)
    assert '"outcome": "passed"' in done.stdout, done.stderr
