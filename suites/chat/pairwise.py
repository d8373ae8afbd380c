"""Pairwise comparison with a baseline: a judge model says whose answer to the same prompt is better.

The prompts and the baseline's answers are those of an earlier run, named by `MELLUM_BASELINE_RUN`; any single-turn chat
suite will do. The judge sees each pair in both orders: an answer wins (1), loses (0) or ties (0.5) in each, and its
value is the mean, so a judge that prefers a place gives everybody a half. Ties count half a win, as usual.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sandboxes.check import JudgedCheck
from sandboxes.extract import split
from suites.problem import Message, Problem, Prompt
from suites.sources import SourceMissing
from suites.suite import Suite

BASELINE = "MELLUM_BASELINE_RUN"


class Pairwise(Suite):
    """All single-turn prompts of the baseline's run, first samples."""

    name = "pairwise"
    category = "chat"
    version = "1"
    summary = "win rate against the answers of an earlier run, judged in both orders (needs a judge)"
    metric = "win_rate"
    has_gold = False
    needs_judge = True

    def problems(self) -> Sequence[Problem]:
        """Ids are those of the baseline's problems; problems of one suite of its run share a cluster.

        Raises:
            SourceMissing: No run is named, or it has no chat answers.
        """
        problems = [_problem(row) for row in _answers() if _is_single_turn(row)]
        if not problems:
            raise SourceMissing(f"the run of {BASELINE} has no answers to chat prompts", f"name another by {BASELINE}")
        return problems

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """The baseline's own prompt."""
        messages = tuple(Message(turn["role"], turn["content"]) for turn in problem.metadata["messages"])
        return Prompt(messages=messages) if chat else Prompt(text=f"{problem.ask}\n")


def _answers() -> Iterator[dict[str, Any]]:
    named = os.environ.get(BASELINE, "")
    path = Path(named) / "generations.jsonl"
    if not named or not path.is_file():
        raise SourceMissing(
            f"no baseline to compare with ({BASELINE}={named})", f"set {BASELINE} to the directory of an earlier run"
        )
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            yield json.loads(line)
        except ValueError:
            raise SourceMissing(f"{path}:{number}: not JSON", "name a run that is whole") from None


def _is_single_turn(row: dict[str, Any]) -> bool:
    prompt = row["prompt"]
    plain = bool(prompt.get("messages")) and not (prompt.get("tools") or prompt.get("choices") or row.get("turns"))
    return plain and row["sample"] == 0 and row["finish"] != "error"


def _problem(row: dict[str, Any]) -> Problem:
    messages = row["prompt"]["messages"]
    asked = "\n\n".join(turn["content"] for turn in messages)
    answer = split(row["text"], row.get("reasoning")).answer or "(no answer)"
    return Problem(
        id=f"{row['suite']}/{row['problem']}",
        ask=messages[-1]["content"],
        check=JudgedCheck(kind="judged", rubric="pairwise", prompt=asked, reference=answer),
        cluster=row["suite"],
        metadata={"messages": messages},
    )
