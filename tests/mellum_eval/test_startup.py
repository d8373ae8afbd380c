"""The command line answers at once: what is heavy is imported by the verb that needs it, and by no other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mellum_eval.cli import VERBS

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "transformers", "datasets", "lm_eval", "pandas", "vllm", "docker", "ray")
LIGHT = [
    "pydantic",
    "httpx",
    "rich",
    "numpy",
    "scipy",
    "yaml",
    "jinja2",
    "asyncio",
    "suites",
    "sandboxes",
]

PROBE = """
import json, sys
from mellum_eval.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


def run_and_list_modules(*arguments: str) -> tuple[int, set[str]]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    )
    code, modules = json.loads(done.stderr.splitlines()[-1])
    return code, set(modules)


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_import_next_to_nothing(flag: str) -> None:
    code, modules = run_and_list_modules(flag)
    assert code == 0
    assert not modules & {*HEAVY, *LIGHT}


def test_listing_suites_imports_nothing_heavy() -> None:
    code, modules = run_and_list_modules("suites", "list")
    assert code == 0
    assert not modules & set(HEAVY)


def test_help_costs_little_cpu() -> None:
    # The contract's 0.15 s is measured on an idle machine; a shared one gets slack, a new heavy import still shows.
    before = os.times()
    for _ in range(3):
        subprocess.run([sys.executable, "-m", "mellum_eval", "--help"], capture_output=True, cwd=ROOT, check=True)
    after = os.times()
    cpu = (after.children_user + after.children_system - before.children_user - before.children_system) / 3
    assert cpu < 0.30


@pytest.mark.parametrize("verb", VERBS)
def test_a_verbs_own_help_starts_with_its_line_in_the_list(verb: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mellum_eval", verb, "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        env={**os.environ, "COLUMNS": "200", "TERMINAL_WIDTH": "200"},
    )
    assert done.returncode == 0, done.stderr
    assert VERBS[verb] in " ".join(done.stdout.split())
