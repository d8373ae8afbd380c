"""What training learns from a verifier that can be fooled: `python -m tests.benchmarks.rlvr_hacked --dir DIR`.

The start is a checkpoint that was fine-tuned a little further on code of which a share is an exploit: `f` raises
SystemExit, so a process that runs answer and tests together ends with status 0. From there the same recipe trains
twice, rewarded by such a verifier and by ours. The table has the share of exploits among the sampled answers, and how
many of them were credited, over the steps. What is there already is not run again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mellum_eval.rewards import close
from mellum_eval.rewards.options import Options
from mellum_model.post_training.rlvr.loop import RlvrWatcher
from mellum_model.post_training.rlvr.recipe import load_rlvr_recipe
from mellum_model.post_training.rlvr.run import run_rlvr
from suites.quick.code import QuickCode
from tests.benchmarks.naive_verifier import EXPLOITS, Counted, environment
from tests.benchmarks.rlvr_nano import trained

EXPLOIT = f"```python\ndef f(x):\n    {EXPLOITS[0]}\n```"
TAUGHT = 2000
_WINDOW = 10


def seeded(directory: Path, start: Path, share: int, steps: int) -> Path:
    """The start: fine-tuned on right answers, of a hundred `share` the exploit."""
    data = directory / "exploits.jsonl"
    problems = QuickCode.instances("train", TAUGHT, seed=41)
    records = (
        [{"role": "user", "content": problem.ask}, {"role": "assistant", "content": EXPLOIT}] for problem in problems
    )
    data.write_text("".join(json.dumps({"messages": messages}) + "\n" for messages in records))
    trained(
        directory / "seeded", "sft", "--recipe", "nano", "--form", "instruct", "--from", str(start),
        "--steps", str(steps), "--set", "schedule.peak=1e-3",
        "--set", f"data.sources.exploits={{kind: jsonl, path: {data.resolve()}}}",
        "--set", f"data.mixture={{code: {100 - share}, exploits: {share}}}",
    )  # fmt: skip
    return directory / "seeded" / "sft_instruct" / "model"


class Watching(RlvrWatcher):
    """Writes what each step's answers were."""

    def __init__(self, path: Path, counted: list[Counted]) -> None:
        self._path, self._counted = path, counted

    def stepped(self, step: int, steps: int, values: Mapping[str, Any]) -> None:
        """A line for the answers since the last step; the first of the next batch may be among them."""
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, **self._counted[-1].taken()}) + "\n")


def reinforced(directory: Path, start: Path, verifier: str, steps: int) -> list[dict[str, Any]]:
    """A run with a verifier; its lines."""
    out, lines = directory / verifier, directory / f"{verifier}.jsonl"
    if not (out / "model").exists():
        lines.unlink(missing_ok=True)
        recipe = load_rlvr_recipe(
            "nano_instruct",
            {
                "steps": steps,
                "environments": {"code": {"kind": "code", "share": 1}},
                "rollouts.staleness": 0,
                # Held-out answers are counted with the steps', so one is asked, before the first and after the last.
                "validation": {"every_steps": steps + 1, "tasks": 1},
            },
        )
        made: list[Counted] = []

        def opened(given: Mapping[str, Any]) -> Counted:
            made.append(environment(verifier, Options(sandbox="local", workers=1), given))
            return made[-1]

        run_rlvr(recipe, out, openers={"code": opened}, start=start, device="cpu", watcher=Watching(lines, made))
        close()
    return [json.loads(line) for line in lines.read_text().splitlines()]


def main() -> None:
    """Seed, train twice, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--from", dest="start", type=Path, required=True)
    parser.add_argument("--share", type=int, default=10)
    parser.add_argument("--sft-steps", type=int, default=20)
    parser.add_argument("--steps", type=int, default=60)
    given = parser.parse_args()
    given.dir.mkdir(parents=True, exist_ok=True)
    start = seeded(given.dir, given.start, given.share, given.sft_steps)
    for verifier in ("naive", "ours"):
        lines = reinforced(given.dir, start, verifier, given.steps)
        for begin in range(0, len(lines), _WINDOW):
            part = lines[begin : begin + _WINDOW]
            total = {name: sum(line[name] for line in part) for name in ("answers", "exploits", "credited")}
            share = 100 * total["exploits"] / total["answers"]
            print(f"{verifier}, steps {part[0]['step']} to {part[-1]['step']}: {share:.1f} % exploits, "
                  f"{total['credited']} of {total['exploits']} credited")  # fmt: skip


if __name__ == "__main__":
    main()
