"""A few answers as data for the page.

Everything is bounded: the page must open fast, and one run of a model that loops can hold gigabytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from mellum_eval.records import Generation, Judgement, Turn
from mellum_eval.store import RunStore, Slot
from reports.text import clip, script_json

_FIELD = 3000
"""Characters of one text at most."""
MOST_TURNS = 40
RankedSample: TypeAlias = tuple[int, dict[str, Any]]
"""Rank within its suite, and the sample; `run` is not in it yet."""
Samples: TypeAlias = Sequence[tuple[str, Sequence[RankedSample]]]
"""Run label and samples of each run."""


def samples_of(store: RunStore, chosen: Mapping[Slot, tuple[int, Judgement]]) -> Iterator[RankedSample]:
    """The chosen answers of a run.

    Raises:
        UserError: The generations could not be read to their end.
    """
    for generation in store.generations_of(chosen.keys()):
        rank, judgement = chosen[generation.key, generation.sample]
        yield rank, sample_data(generation, judgement)


def fitting(runs: Samples, room: int) -> tuple[list[dict[str, Any]], int]:
    """As many samples of all runs as fit, by run and suite, and how many were left out.

    Args:
        runs: Label and samples of each run.
        room: Characters, as they stand in the page: a `<` takes six there.
    """
    ranked = [
        (rank, index, {"run": label, **sample})
        for index, (label, samples) in enumerate(runs)
        for rank, sample in samples
    ]
    # First every suite's first sample, then every suite's second: a budget that ends cuts all of them alike.
    ranked.sort(key=lambda item: (item[0], item[1], item[2]["suite"], item[2]["problem"]))
    kept: list[tuple[int, dict[str, Any]]] = []
    size = 0
    for _, index, sample in ranked:
        size += len(script_json(sample))
        if size > room:
            break
        kept.append((index, sample))
    kept.sort(key=lambda item: (item[0], item[1]["suite"], item[1]["outcome"] == "passed", item[1]["problem"]))
    return [sample for _, sample in kept], len(ranked) - len(kept)


def sample_data(generation: Generation, judgement: Judgement, limit: int = _FIELD) -> dict[str, Any]:
    """An answer and its verdict as JSON data, every text cut to `limit` characters."""
    return {
        "suite": judgement.suite,
        "problem": judgement.problem,
        "sample": judgement.sample,
        "outcome": judgement.outcome,
        "score": judgement.score,
        "tests": f"{judgement.tests_passed} of {judgement.tests_total}" if judgement.tests_total else "",
        "message": clip(judgement.message, 500),
        "prompt": _turns(generation.prompt, limit),
        "tools": clip(_pretty(generation.prompt["tools"]), limit) if generation.prompt.get("tools") else "",
        "reasoning": clip(generation.reasoning or "", limit),
        "turns": _dialogue(generation, limit),
        "text": clip(_body(generation), limit),
        "calls": clip(_pretty(generation.tool_calls), limit) if generation.tool_calls else "",
        "judged": "" if generation.answer is None else clip("\n".join(_texts(generation.answer)), limit),
        "finish": generation.finish if not generation.error else f"{generation.finish}: {clip(generation.error, 300)}",
        "tokens": {name: count for name, count in sorted(generation.tokens.items())},
        "evidence": clip(_pretty(judgement.evidence), limit) if judgement.evidence else "",
        "parts": dict(sorted(judgement.parts.items())),
        "sandbox": f"{judgement.engine}, {judgement.isolation}",
    }


def _body(said: Generation | Turn) -> str:
    """What was said beside the reasoning, which is shown folded; an unclosed one is all there is."""
    body = said.text
    if said.reasoning:
        body = body.rpartition("</think>")[2] if "</think>" in body else body.replace(said.reasoning, "", 1)
    return body.strip("\n")


def _dialogue(generation: Generation, limit: int) -> list[dict[str, str]]:
    """What model and conversation said to each other before the model's last turn; of a long one not the middle."""
    shown: list[dict[str, str]] = []
    for number, turn in enumerate(generation.turns):
        if number + 1 < len(generation.turns) or generation.error:
            text = "\n".join(filter(None, (_body(turn), *_texts(turn.tool_calls))))
            shown.append({"role": "model", "text": clip(text, limit)})
        shown += _turns({"messages": turn.messages}, limit) if turn.messages else []
    if len(shown) > MOST_TURNS:
        half, left = MOST_TURNS // 2, len(shown) - MOST_TURNS
        shown[half:-half] = [{"role": "note", "text": f"({left} turns are not shown)"}]
    return shown


def _turns(prompt: Mapping[str, Any], limit: int) -> list[dict[str, str]]:
    """The prompt as turns of role and text, whatever its form."""
    messages = prompt.get("messages")
    if isinstance(messages, list) and messages:
        turns = [m for m in messages if isinstance(m, dict)]
        return [
            {
                "role": str(turn.get("role", "?")),
                "text": clip("\n".join(_texts(turn.get("content")) + _texts(turn.get("tool_calls"))), limit),
            }
            for turn in turns[:20]
        ]
    return [{"role": "text", "text": clip(str(prompt.get("text") or _pretty(prompt)), limit)}]


def _texts(content: Any) -> list[str]:
    if not content:
        return []
    return [content if isinstance(content, str) else _pretty(content)]


def _pretty(value: Any) -> str:
    try:
        return json.dumps(value, indent=1, ensure_ascii=False, default=str)
    except (RecursionError, ValueError):
        return "(nested too deep, or too large a number, to be shown)"
