"""What a run will take, told before it begins: samples, tokens, time and money.

Nothing is asked of any model. Where a run of the same campaign has measured something, that is taken; else what the
campaign's file expects; else, for the length of answers, the suite's own limit, and the estimate says `at most`. What
nobody has said and nothing has measured is left open rather than guessed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mellum_eval.campaign import Member
from mellum_eval.launch import with_defaults
from mellum_eval.plan import Question, plan, prompt_record
from mellum_eval.records import Scores
from mellum_eval.store import RunStore

CHARACTERS_A_TOKEN = 4.0
"""Of prompts that no model has counted yet: the usual rule of thumb for English text and code."""
_LOOKED_AT = 2000
"""Completions of a run whose latency is looked at."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one run will take.

    Attributes:
        suites: How many.
        samples: Completions wanted, prerequisites among them; a conversation is one.
        prompt_tokens: In all.
        completion_tokens: In all.
        at_most: Whether completion tokens, time and cost are upper bounds.
        seconds: Wall time of generation; None where nobody knows.
        cost: By the prices given; None where none are.
    """

    suites: int
    samples: int
    prompt_tokens: float
    completion_tokens: float
    at_most: bool
    seconds: float | None
    cost: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """What the runs of a campaign that are there have shown: scores by model, and seconds of an answer by model."""

    scores: Sequence[tuple[str | None, Scores]]
    latency_s: dict[str | None, float]

    @classmethod
    def of(cls, members: Sequence[Member], root: Path) -> Measured:
        """Look at all that was begun.

        Raises:
            UserError: A run's files were altered.
        """
        scores, latency = [], {}
        for member in members:
            if member.state(root) == "new":
                continue
            store = RunStore.open(root / member.name)
            found = store.scores()
            if found is not None:
                scores.append((member.spec.model, found))
            seconds = [generation.latency_s for generation in islice(store.generations(), _LOOKED_AT)]
            if any(seconds):
                latency[member.spec.model] = math.fsum(seconds) / len(seconds)
        return cls(scores, latency)

    def tokens(self, suite: str, kind: str, model: str | None) -> float | None:
        """Mean tokens of an answer to a suite (`prompt` or `completion`): this model's, else the others' mean."""
        found = [(who, scores.suites[suite].tokens.get(kind)) for who, scores in self.scores if suite in scores.suites]
        own = [value for who, value in found if who == model and value is not None]
        values = own or [value for _, value in found if value is not None]
        # A backend that counts no tokens has none on record, or zeros.
        return math.fsum(values) / len(values) if any(values) else None


def estimate(member: Member, measured: Measured) -> Estimate:
    """What a run of a campaign will take in all, were it begun anew.

    Raises:
        UserError, SourceMissing, SourceAltered: As `mellum_eval.plan.plan`.
    """
    spec, expected = with_defaults(member.spec), member.expected
    planned = plan(spec, chat=not spec.backend.base)
    samples, prompts, completions = 0, 0.0, 0.0
    at_most = False
    for suite in planned:
        questions = (*suite.prerequisites, *suite.questions)
        wanted = len(questions) * suite.sampling.samples
        samples += wanted
        mean_prompt = measured.tokens(suite.name, "prompt", spec.model)
        prompts += suite.sampling.samples * sum(_lengths(questions)) if mean_prompt is None else wanted * mean_prompt
        asked = sum(not question.prompt.choices for question in questions) * suite.sampling.samples
        mean = measured.tokens(suite.name, "completion", spec.model) or expected.completion_tokens
        completions += asked * (suite.sampling.max_tokens if mean is None else mean)
        at_most = at_most or (mean is None and asked > 0)
    seconds = None
    if spec.model in measured.latency_s:
        seconds = samples * measured.latency_s[spec.model] / spec.backend.concurrency
    elif expected.tokens_per_s is not None:
        seconds = completions / expected.tokens_per_s
    cost = None
    if expected.price_in is not None or expected.price_out is not None:
        cost = (prompts * (expected.price_in or 0.0) + completions * (expected.price_out or 0.0)) / 1e6
    return Estimate(len(planned), samples, prompts, completions, at_most, seconds, cost)


def _lengths(questions: Sequence[Question]) -> Iterator[float]:
    for question in questions:
        record = prompt_record(question.prompt)
        repeats = max(1, len(question.prompt.choices))  # ranking reads the prompt once for each choice
        yield repeats * sum(len(str(part)) for part in record.values()) / CHARACTERS_A_TOKEN


def table(rows: Sequence[tuple[str, str, Estimate]]) -> list[str]:
    """Lines of name, state and estimate, with a sum at the end."""
    head = ("run", "state", "suites", "samples", "prompt tokens", "completion tokens", "time", "cost")
    lines = [head, *((name, state, *_cells(found)) for name, state, found in rows)]
    if len(rows) > 1:
        lines.append(("all that is owed", "", *_cells(_sum([found for _, state, found in rows if state != "done"]))))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def _sum(found: Sequence[Estimate]) -> Estimate:
    seconds = [each.seconds for each in found]
    costs = [each.cost for each in found]
    return Estimate(
        sum(each.suites for each in found),
        sum(each.samples for each in found),
        math.fsum(each.prompt_tokens for each in found),
        math.fsum(each.completion_tokens for each in found),
        any(each.at_most for each in found),
        None if None in seconds else math.fsum(value for value in seconds if value is not None),
        None if None in costs else math.fsum(value for value in costs if value is not None),
    )


def _cells(found: Estimate) -> tuple[str, ...]:
    bound = "≤ " if found.at_most else ""
    return (
        str(found.suites),
        f"{found.samples:,}",
        _short(found.prompt_tokens),
        bound + _short(found.completion_tokens),
        "?" if found.seconds is None else bound + _time(found.seconds),
        "?" if found.cost is None else f"{bound}{found.cost:,.2f}",
    )


def _short(tokens: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if tokens >= size:
            return f"{tokens / size:.1f} {unit}"
    return f"{tokens:.0f}"


def _time(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return (
        f"{hours} h {minutes:02d} min" if hours else f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
    )
