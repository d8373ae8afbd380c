"""How well a run's two halves overlap: HumanEval+ from a server that sleeps, judged meanwhile, at several latencies.

    python -m tests.benchmarks.overlap [--sandbox docker] [--concurrency 8] [--latency 0.1 --latency 0.4]

Runs `mellum-eval run` at an endpoint that takes so many seconds for each answer and then gives the right one, and
prints the run's own line of times. Exit code 1 if a run that waits for the server more than for the judges takes more
than 1.1 times its generation. (Where judging is the longer half, the first answers' latency comes on top: there is
nothing to judge before.)
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from suites import registry
from tests.mellum_eval.unruly_server import chat, unruly

ROOT = Path(__file__).resolve().parents[2]
SUITE = "humaneval_plus"
MOST = 1.1


async def run_once(latency_s: float, options: argparse.Namespace) -> float:
    """Wall time over that of generation, as the run says; 0 where verification was the longer half."""
    suite = registry.get(SUITE)
    answers = {suite.render(problem, chat=True).messages[-1].content: problem.gold for problem in suite.problems()}

    def script(path: str, body: dict[str, Any], number: int) -> Any:
        if path.endswith("/models"):
            return 200, {"data": [{"id": "sleeper"}]}
        return "late", latency_s, (200, chat(answers[body["messages"][-1]["content"]]))

    async with unruly(script) as server:
        with tempfile.TemporaryDirectory() as scratch:
            command = ["-m", "mellum_eval", "run", f"openai:sleeper@{server.url}/v1", "-s", SUITE]
            command += ["--limit", str(options.limit), "--concurrency", str(options.concurrency)]
            command += ["--sandbox", options.sandbox, "--out", f"{scratch}/run"]
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                cwd=scratch,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            shown = (await process.communicate())[0].decode()
    found = re.search(
        r"^time +(.*: generation ([\d.]+) s, verification ([\d.]+) s; ([\d.]+) × the longer)$", shown, re.M
    )
    if process.returncode or found is None or not re.search(rf"^{SUITE} .* 100\.0 ", shown, re.M):
        raise SystemExit(f"the run ended with {process.returncode}:\n{shown[-3000:]}")
    print(f"{latency_s:g} s an answer, {options.concurrency} at a time: {found[1]}", flush=True)
    return float(found[4]) if float(found[2]) >= float(found[3]) else 0.0


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sandbox", default="docker")
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--latency", type=float, action="append", metavar="SECONDS")
    parser.add_argument("--limit", type=int, default=164)
    options = parser.parse_args()
    ratios = [asyncio.run(run_once(latency, options)) for latency in options.latency or (0.1, 0.5, 1.0, 2.0)]
    return 0 if max(ratios) <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
