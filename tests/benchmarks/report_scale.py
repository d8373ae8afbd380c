"""How long a leaderboard of many models takes, and how much memory: `python -m tests.benchmarks.report_scale`.

Writes run directories of the real form (50 models, 30 suites, 1,000 samples each, unless told otherwise), then times
`mellum-eval report` over all of them as a process of its own and prints wall time, CPU time and peak memory.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mellum_eval import jsonl
from mellum_eval.records import Generation, Judgement, Manifest, Metric, Scores, SuiteRecord, SuiteScores
from mellum_eval.statistics import mean_interval

CATEGORIES = ("code", "math", "tools", "knowledge", "safety", "chat")
OUTCOMES = ("failed", "runtime_error", "timeout", "unparsed")


def write_run(path: Path, model: int, suites: int, problems: int) -> None:
    """One run: what a model of its own skill answered, and the verdicts."""
    path.mkdir(parents=True)
    names = [f"suite_{i:02d}" for i in range(suites)]
    skill = 0.2 + 0.6 * random.Random(model).random()
    scores = {}
    with (path / "generations.jsonl").open("w") as answers, (path / "verdicts.jsonl").open("w") as verdicts:
        for index, name in enumerate(names):
            own, values, outcomes = random.Random(f"{name}{model}"), [], {}
            for problem in range(problems):
                hard = random.Random(f"{name}{problem}").random()
                passed = own.random() < (skill + 1 - hard) / 2
                outcome = "passed" if passed else own.choice(OUTCOMES)
                values.append(float(passed))
                outcomes[outcome] = outcomes.get(outcome, 0) + 1
                key = f"{index:04x}{problem:060x}"
                # By a template: a million pydantic records would take longer than the report.
                answers.write(_ANSWER % (key, name, name, problem, problem))
                verdicts.write(_VERDICT % (key, name, name, problem, outcome, float(passed), problem))
            estimate = mean_interval(values)
            metric = Metric(value=estimate.value, ci95=(estimate.lo, estimate.hi), stderr=estimate.stderr)
            scores[name] = SuiteScores(
                category=CATEGORIES[index % len(CATEGORIES)],
                n=problems,
                metrics={"pass@1": metric},
                outcomes=outcomes,
                unparsed_rate=outcomes.get("unparsed", 0) / problems,
                infra_error_rate=0.0,
                tokens={"prompt": 120.0, "completion": 80.0 + 10 * model},
            )
    manifest = Manifest(
        created="2026-01-01T00:00:00Z",
        command=["mellum-eval", "run"],
        spec={"model": f"replay:model-{model}"},
        model={"name": f"model-{model}", "parameters": {"total": 10**9 * (1 + model), "active": 10**9 * (1 + model)}},
        suites=[
            SuiteRecord(
                name=name,
                category=CATEGORIES[index % len(CATEGORIES)],
                version="1",
                metric="pass@1",
                sampling={"temperature": 0.0, "samples": 1},
                problems=problems,
            )
            for index, name in enumerate(names)
        ],
        seeds={"sampling": 0},
        sandbox={"engine": "docker"},
        versions={},
        host={},
    )
    (path / "run.json").write_text(jsonl.dumps(manifest.model_dump()))
    (path / "scores.json").write_text(jsonl.dumps(Scores(suites=scores, partial=False).model_dump()))


def _template(record: Generation | Judgement, **holes: str) -> str:
    line = jsonl.dumps(record.model_dump()).replace("%", "%%")
    for marker, hole in holes.items():
        line = line.replace(marker, hole)
    return line + "\n"


_ANSWER = _template(
    Generation(
        key="KEY",
        suite="SUITE",
        problem="PROBLEM/NUMBER",
        sample=0,
        prompt={
            "messages": [
                {
                    "role": "user",
                    "content": "Write a function that returns its argument plus NUMBER." + " As fast as you can." * 9,
                }
            ]
        },
        text="Here is the function:\n\n```python\ndef solve(x):\n    return x + 1\n```\n" * 3,
        finish="stop",
        tokens={"prompt": 120, "completion": 80},
    ),
    KEY="%s",
    SUITE="%s",
    PROBLEM="%s",
    NUMBER="%d",
)
_VERDICT = _template(
    Judgement(
        key="KEY",
        suite="SUITE",
        problem="PROBLEM/1111111",
        sample=0,
        outcome="OUTCOME",
        score=0.3333333,
        tests_passed=3,
        tests_total=7,
        message="solve(7777777): expected 4, got 5",
        engine="docker",
        isolation="split",
        evidence={"extracted": "def solve(x):\n    return x + 1"},
    ),
    KEY="%s",
    SUITE="%s",
    PROBLEM="%s",
    **{"1111111": "%d", "OUTCOME": "%s", "0.3333333": "%r", "7777777": "%d"},
)


def main() -> None:
    """Write, report, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--suites", type=int, default=30)
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--dir", type=Path, help="where runs are written, and found again if they are there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = given.dir or Path(scratch)
        runs = [root / f"model-{i:02d}" for i in range(given.models)]
        for i, path in enumerate(runs):
            if not path.exists():
                write_run(path, i, given.suites, given.problems)
        size = sum(file.stat().st_size for path in runs for file in path.iterdir() if file.is_file())
        out = Path(scratch) / "report"
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "mellum_eval", "report", *map(str, runs), "--out", str(out)], check=True)
        wall = time.monotonic() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        page = (out / "report.html").stat().st_size
        print(f"{given.models} models x {given.suites} suites x {given.problems} samples, {size / 1e6:.0f} MB read")
        print(f"wall {wall:.1f} s, CPU {used.ru_utime + used.ru_stime:.1f} s on {os.cpu_count()} cores")
        print(f"largest process {used.ru_maxrss / 1024:.0f} MB, page {page / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
