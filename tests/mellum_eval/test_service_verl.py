"""verl's own client of SandboxFusion, as its package has it, against our service."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from environments import pinned_python
from serving import serving

pytest.importorskip("uvicorn", reason="pip install 'mellum-eval[serve]'")

VERL = (
    *("verl==0.9.1", "requests==2.34.2", "urllib3==2.8.0", "idna==3.20", "certifi==2026.10.18"),
    "charset-normalizer==3.5.2",
)
"""Without the rest of what verl needs: its client uses `requests` alone."""
TOKEN = "a-token-for-verl"

CLIENT = """
import importlib.util, json, pathlib, sys, sysconfig
# The module by its path: importing `verl` itself would want torch, Ray and more, none of which the client uses.
home = pathlib.Path(sysconfig.get_path("purelib"), "verl", "utils", "reward_score", "sandbox_fusion")
at = dict(submodule_search_locations=[str(home)])
spec = importlib.util.spec_from_file_location("sandbox_fusion", home / "__init__.py", **at)
client = sys.modules["sandbox_fusion"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(client)
url, jobs = json.loads(sys.stdin.read())
for job in jobs:
    score, told = client.compute_score(url, None, 512, job["completion"], job["cases"], continuous=True, timeout=2)
    print(json.dumps([score, [case.get("status") for case in told]]), file=sys.__stdout__, flush=True)
"""


@pytest.fixture(scope="module")
def verl() -> Path:
    try:
        return pinned_python("verl", *VERL, no_deps=True)
    except subprocess.CalledProcessError as error:
        if os.environ.get("MELLUM_REQUIRE_DOCKER") == "1":  # CI, where nothing may be missing
            raise
        pytest.skip(f"verl cannot be installed here: {error}")


def fenced(code: str) -> str:
    return f"Here it is.\n```python\n{code}\n```"


PLAIN = {"inputs": ["3\n", "4\n"], "outputs": ["9", "16"]}
FUNCTION = {"fn_name": "square", "inputs": ["3", "4"], "outputs": ["9", "16"]}
JOBS: list[tuple[str, str, dict[str, Any], float, list[str]]] = [
    ("right", fenced("print(int(input()) ** 2)"), PLAIN, 1.0, ["success"] * 2),
    ("half", fenced("print(9)"), PLAIN, 0.5, ["success", "wrong_answer"]),
    ("crash", fenced("raise SystemExit(3)"), PLAIN, 0.0, ["runtime_error"] * 2),
    ("slow", fenced("while True: pass"), PLAIN, 0.0, ["timeout"] * 2),
    ("function", fenced("def square(x): return x * x"), FUNCTION, 1.0, ["success"] * 2),
    ("method", fenced("class Solution:\n    def square(self, x): return x * x"), FUNCTION, 1.0, ["success"] * 2),
]


def ask(python: Path, url: str) -> list[Any]:
    jobs = [{"completion": completion, "cases": cases} for _, completion, cases, _, _ in JOBS]
    done = subprocess.run(
        [python, "-c", CLIENT], input=json.dumps([url, jobs]), capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.timeout(300)
def test_verls_client_gets_what_it_reads(verl: Path) -> None:
    with serving(MELLUM_TOKEN=TOKEN) as served:
        url = served.url.replace("http://", f"http://any:{TOKEN}@") + "/run_code"
        told = ask(verl, url)
    assert dict(zip([job[0] for job in JOBS], told, strict=True)) == {
        name: [score, statuses] for name, _, _, score, statuses in JOBS
    }
