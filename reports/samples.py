"""A few answers of each suite, to be read: the ones that failed first, each cause once, then some that passed.

The choice is by hash, so it is the same however often the report is made, and no one's pick. Everything is bounded:
the page must open fast, and one run of a model that loops can hold gigabytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from mellum_eval.errors import UserError
from mellum_eval.records import Generation, Judgement
from mellum_eval.store import RunStore
from reports.gather import Notice, Run
from reports.text import clip, script_json

NOT_PASSED = 8
"""One of each way not to pass, where there are that many."""
PASSED = 2
_FIELD = 3000
"""Characters of one text at most."""
_BUDGET = 900_000
"""Characters of all samples together at most, as they stand in the page: a `<` takes six there."""


def pick(runs: Sequence[Run], notices: list[Notice]) -> list[dict[str, Any]]:
    """Samples of all runs, as JSON data for the page; a run that cannot be read becomes a notice."""
    ranked: list[tuple[int, int, dict[str, Any]]] = []
    for index, run in enumerate(runs):
        try:
            store = RunStore.open(run.path)
            chosen = _choose(store.judgements(), run.suites.keys())
            for generation in store.generations():
                found = chosen.pop((generation.key, generation.sample), None)
                if found is not None:
                    rank, judgement = found
                    ranked.append((rank, index, _sample(run.label, generation, judgement)))
        except UserError as error:
            text = f"{error}; its samples are not all shown"
            if not any(str(error) in notice.text for notice in notices):
                notices.append(Notice(text, bad=True))
    # First every suite's first sample, then every suite's second: a budget that ends cuts all of them alike.
    ranked.sort(key=lambda item: (item[0], item[1], item[2]["suite"], item[2]["problem"]))
    kept: list[tuple[int, dict[str, Any]]] = []
    size = 0
    for _, index, sample in ranked:
        size += len(script_json(sample))
        if size > _BUDGET:
            notices.append(Notice(f"{len(ranked) - len(kept)} more samples left out to keep the page small", bad=False))
            break
        kept.append((index, sample))
    kept.sort(key=lambda item: (item[0], item[1]["suite"], item[1]["outcome"] == "passed", item[1]["problem"]))
    return [sample for _, sample in kept]


def _choose(judgements: Iterator[Judgement], suites: Collection[str]) -> dict[tuple[str, int], tuple[int, Judgement]]:
    """(key, sample) → rank within its suite, and the verdict; at most NOT_PASSED and PASSED a suite."""
    best: dict[str, dict[str, list[tuple[str, Judgement]]]] = {}
    for judgement in judgements:
        if judgement.suite not in suites:
            continue
        of_outcome = best.setdefault(judgement.suite, {}).setdefault(judgement.outcome, [])
        of_outcome.append((_order(judgement), judgement))
        if len(of_outcome) > 4 * NOT_PASSED:
            of_outcome.sort(key=lambda item: item[0])
            del of_outcome[NOT_PASSED:]
    chosen: dict[tuple[str, int], tuple[int, Judgement]] = {}
    for outcomes in best.values():
        for rank, judgement in enumerate(_first_of_suite(outcomes)):
            chosen[judgement.key, judgement.sample] = (rank, judgement)
    return chosen


def _first_of_suite(outcomes: Mapping[str, list[tuple[str, Judgement]]]) -> list[Judgement]:
    ordered = {name: [j for _, j in sorted(found, key=lambda item: item[0])] for name, found in outcomes.items()}
    passed = ordered.pop("passed", [])[:PASSED]
    failed: list[Judgement] = []
    depth = 0
    while len(failed) < NOT_PASSED and any(len(found) > depth for found in ordered.values()):
        for name in sorted(ordered):
            if len(ordered[name]) > depth and len(failed) < NOT_PASSED:
                failed.append(ordered[name][depth])
        depth += 1
    return failed[:2] + passed[:1] + failed[2:] + passed[1:]


def _order(judgement: Judgement) -> str:
    return hashlib.sha256(f"{judgement.key}:{judgement.sample}".encode("utf-8", "surrogatepass")).hexdigest()


def _sample(label: str, generation: Generation, judgement: Judgement) -> dict[str, Any]:
    body = generation.text
    if generation.reasoning:
        # The reasoning is shown folded beside it; an unclosed one is all there is.
        body = body.rpartition("</think>")[2] if "</think>" in body else body.replace(generation.reasoning, "", 1)
    return {
        "run": label,
        "suite": judgement.suite,
        "problem": judgement.problem,
        "sample": judgement.sample,
        "outcome": judgement.outcome,
        "score": judgement.score,
        "tests": f"{judgement.tests_passed} of {judgement.tests_total}" if judgement.tests_total else "",
        "message": clip(judgement.message, 500),
        "prompt": _turns(generation.prompt),
        "tools": clip(_pretty(generation.prompt["tools"]), _FIELD) if generation.prompt.get("tools") else "",
        "reasoning": clip(generation.reasoning or "", _FIELD),
        "text": clip(body.strip("\n"), _FIELD),
        "calls": clip(_pretty(generation.tool_calls), _FIELD) if generation.tool_calls else "",
        "finish": generation.finish if not generation.error else f"{generation.finish}: {clip(generation.error, 300)}",
        "tokens": {name: count for name, count in sorted(generation.tokens.items())},
        "evidence": clip(_pretty(judgement.evidence), _FIELD) if judgement.evidence else "",
        "parts": dict(sorted(judgement.parts.items())),
        "sandbox": f"{judgement.engine}, {judgement.isolation}",
    }


def _turns(prompt: Mapping[str, Any]) -> list[dict[str, str]]:
    """The prompt as turns of role and text, whatever its form."""
    messages = prompt.get("messages")
    if isinstance(messages, list) and messages:
        turns = [m for m in messages if isinstance(m, dict)]
        return [
            {
                "role": str(turn.get("role", "?")),
                "text": clip("\n".join(_texts(turn.get("content")) + _texts(turn.get("tool_calls"))), _FIELD),
            }
            for turn in turns[:20]
        ]
    return [{"role": "text", "text": clip(str(prompt.get("text") or _pretty(prompt)), _FIELD)}]


def _texts(content: Any) -> list[str]:
    if not content:
        return []
    return [content if isinstance(content, str) else _pretty(content)]


def _pretty(value: Any) -> str:
    try:
        return json.dumps(value, indent=1, ensure_ascii=False, default=str)
    except (RecursionError, ValueError):
        return "(nested too deep, or too large a number, to be shown)"
