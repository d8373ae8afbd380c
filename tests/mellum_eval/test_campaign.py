"""Campaigns: what a file asks for, what it will take, and a whole one that is killed and gone on with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from serving import ROOT

from mellum_eval.campaign import Expected, Member, read_campaign
from mellum_eval.errors import UserError
from mellum_eval.estimate import Measured, estimate, table
from mellum_eval.spec import RunSpec

SUITES = ["quick_tools", "quick_safety"]


def written(path: Path, **fields: Any) -> Path:
    path.write_text(yaml.safe_dump(fields))
    return path


def test_models_and_seeds_multiply(tmp_path: Path) -> None:
    file = written(
        tmp_path / "c.yaml",
        suites=SUITES,
        seeds=[3, 5],
        limit=7,
        backend={"concurrency": 4, "base": True},
        models=[
            "mock:gold",
            {"model": "openai:m@http://h/v1", "name": "other one", "limit": 2, "backend": {"base": False}},
        ],
    )
    members = read_campaign(file, {"limit": None, "top_p": 0.5, "backend.retries": 1})
    assert [m.name for m in members] == ["mock-gold-seed3", "mock-gold-seed5", "other-one-seed3", "other-one-seed5"]
    first, last = members[0].spec, members[-1].spec
    assert (first.model, first.seed, first.limit, first.top_p) == ("mock:gold", 3, 7, 0.5)
    assert (last.seed, last.limit, last.suites) == (5, 2, tuple(SUITES))
    assert (last.backend.concurrency, last.backend.base, last.backend.retries) == (4, False, 1)


@pytest.mark.parametrize(
    ("fields", "flags", "says"),
    [
        ({"models": []}, {}, "models: a list with at least one entry"),
        ({"models": ["a"], "seeds": 3}, {}, "seeds: a list"),
        ({"models": [{"name": "x"}]}, {}, "models.0: SCHEME:NAME is needed"),
        ({"models": ["mock:gold", {"model": "mock:gold"}]}, {}, "models.1: its directory would be mock-gold"),
        ({"models": ["mock:gold"], "seed": 1}, {}, "seed: a campaign has seeds"),
        ({"models": ["mock:gold"]}, {"model": "nano"}, "model: a campaign has models"),
        ({"models": [{"model": "m", "limt": 3}]}, {}, "models.0: limt: no such key; did you mean limit"),
        ({"models": [{"model": "m", "backend": {"retris": 3}}]}, {}, "models.0: backend.retris: no such key"),
        ({"models": [{"model": "m", "expect": {"price": 3}}]}, {}, "models.0: expect.price: no such key"),
        ({"models": ["m"], "seeds": [-1]}, {}, "models.0: seed: "),
        ({"models": ["m"], "seeds": [1, 1]}, {}, "models.0: its directory would be m-seed1"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, fields: dict[str, Any], flags: dict[str, Any], says: str) -> None:
    file = written(tmp_path / "c.yaml", **fields)
    with pytest.raises(UserError) as caught:
        read_campaign(file, flags)
    assert str(caught.value).startswith(f"{file}: {says}")


def test_an_estimate_counts_and_says_what_it_does_not_know(tmp_path: Path) -> None:
    spec = RunSpec(model="mock:gold", suites=("quick_math",), limit=5, samples=4, max_tokens=50)
    nothing = Measured.of([], tmp_path)
    found = estimate(Member("m", spec), nothing)
    assert (found.samples, found.completion_tokens, found.at_most) == (20, 1000, True)
    assert (found.seconds, found.cost) == (None, None)
    assert found.prompt_tokens > 20
    told = Expected(completion_tokens=10, tokens_per_s=4, price_in=0, price_out=2e6)
    found = estimate(Member("m", spec, told), nothing)
    assert (found.completion_tokens, found.at_most, found.seconds, found.cost) == (200, False, 50, 400)
    (_, line) = table([("m", "new", found)])
    assert line.split()[-3:] == ["50", "s", "400.00"]


def call(*arguments: str, cwd: Path) -> list[str]:
    return [sys.executable, "-m", "mellum_eval", "run", "--config", "c.yaml", "--out", "all", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def ran(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        call(*arguments, cwd=cwd), cwd=cwd, env=environment(), capture_output=True, text=True, timeout=120
    )


def test_a_campaign_is_planned_killed_and_gone_on_with(tmp_path: Path) -> None:
    away = {"model": "openai:x@http://127.0.0.1:9/v1", "name": "away", "backend": {"retries": 0}}
    written(
        tmp_path / "c.yaml",
        suites=SUITES,
        samples=2,
        backend={"concurrency": 2},
        models=["mock:gold", {"model": "mock:mixed,latency=0.02", "name": "slow"}, away],
    )
    plan = ran("--dry-run", cwd=tmp_path)
    assert plan.returncode == 0, plan.stderr
    assert [line.split()[:4] for line in plan.stdout.splitlines()[1:4]] == [
        ["mock-gold", "new", "2", "160"],
        ["slow", "new", "2", "160"],
        ["away", "new", "2", "160"],
    ]
    assert not (tmp_path / "all").exists()
    with subprocess.Popen(
        call(cwd=tmp_path), cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        answers = tmp_path / "all" / "slow" / "generations.jsonl"
        deadline = time.monotonic() + 60
        while not answers.exists() or answers.read_bytes().count(b"\n") < 20:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    first = (tmp_path / "all" / "mock-gold" / "generations.jsonl").stat().st_mtime_ns
    refused = ran(cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "") and "--resume" in refused.stderr
    done = ran("--resume", cwd=tmp_path)
    assert done.returncode == 3, done.stderr  # one model is away, which costs the others nothing
    assert "away: http://127.0.0.1:9/v1 does not answer" in done.stderr
    assert (tmp_path / "all" / "mock-gold" / "generations.jsonl").stat().st_mtime_ns == first
    scores = json.loads((tmp_path / "all" / "slow" / "scores.json").read_text())
    assert scores["partial"] is False
    assert "latency" in (tmp_path / "all" / "report" / "report.md").read_text()
    again = ran("--resume", "--dry-run", cwd=tmp_path)
    assert [line.split()[1] for line in again.stdout.splitlines()[1:4]] == ["done", "done", "new"]
