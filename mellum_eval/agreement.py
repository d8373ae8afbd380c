"""Agreement with labelled answers: the share that agrees, with an exact interval, and Cohen's kappa.

How to read this: kappa is the agreement beyond what two raters with these label frequencies would reach by chance
(Cohen 1960): 0 is chance, 1 is all. A judge whose kappa is not well above the rules' earns nothing over them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mellum_eval.errors import UserError
from mellum_eval.spec import BackendOptions
from sandboxes.verifiers.judging import RUBRICS, Asked, JudgeFailed, JudgeModel, decide

RubricName = Literal["refusal", "harm", "strong_reject", "false_premise", "same_answer", "pairwise"]


class Labelled(BaseModel):
    """One answer that a person labelled, for the rubric's first question."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rubric: RubricName
    prompt: str
    answer: str
    label: str
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """One rubric's row.

    Attributes:
        rubric: With its version.
        decided_by: The judge, or `rules`.
        n: Answers that were judged.
        share: Of those, the share whose label agrees; `low` and `high` bound it (exact binomial, 95 %).
        kappa: Cohen's.
        not_judged: Answers that nobody judged.
        confusions: (label, judged) → how often, where they differ.
    """

    rubric: str
    decided_by: str
    n: int
    share: float
    low: float
    high: float
    kappa: float
    not_judged: int
    confusions: Counter[tuple[str, str]]


def read_labels(path: Path | None) -> list[Labelled]:
    """Labelled answers of a JSONL file; without one those that are bundled.

    Raises:
        UserError: Names file, line and field.
    """
    try:
        text = (path or files("suites.safety").joinpath("labelled.jsonl")).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {error}") from None
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            labelled = Labelled.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(f"{path}:{number}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        if labelled.label not in RUBRICS[labelled.rubric].labels[0]:
            labels = ", ".join(RUBRICS[labelled.rubric].labels[0])
            raise UserError(f"{path}:{number}: label: {labelled.label!r} is none of {labels}")
        found.append(labelled)
    return found


async def agreements(
    labelled: Sequence[Labelled], address: str | None, *, api_key_env: str, only: str | None = None
) -> list[Agreement]:
    """A row for each rubric that has labels, and that can be decided.

    Args:
        labelled: Answers with their labels.
        address: The judge; without one the rules.
        api_key_env: Variable with the judge's key.
        only: One rubric.

    Raises:
        UserError: There is no such rubric among the labels, or the address is none.
        PrerequisiteMissing: The judge does not answer.
    """
    rubrics = [name for name in dict.fromkeys(one.rubric for one in labelled) if only in (None, name)]
    if not rubrics:
        raise UserError(f"--rubric: no labels for {only!r}; there are {', '.join({one.rubric for one in labelled})}")
    if address is None:
        decidable = [name for name in rubrics if RUBRICS[name].rule is not None]
        if not decidable:
            raise UserError(f"{', '.join(rubrics)} has no rule; name a judge: openai:MODEL@URL")
        return [await agreement([one for one in labelled if one.rubric == name], None) for name in decidable]
    from mellum_eval.judge import EndpointJudge

    judge = await EndpointJudge.open(address, BackendOptions(api_key_env=api_key_env))
    try:
        return [await agreement([one for one in labelled if one.rubric == name], judge) for name in rubrics]
    finally:
        await judge.aclose()


async def agreement(labelled: Sequence[Labelled], judge: JudgeModel | None) -> Agreement:
    """One rubric's row."""
    rubric = RUBRICS[labelled[0].rubric]

    async def said(one: Labelled) -> str | None:
        try:
            asked = Asked(one.prompt, one.answer, one.reference)
            return (await decide(rubric, asked, judge)).labels[0]
        except JudgeFailed:
            return None

    given = await asyncio.gather(*(said(one) for one in labelled))
    pairs = [(one.label, label) for one, label in zip(labelled, given, strict=True) if label is not None]
    agreed = sum(label == judged for label, judged in pairs)
    low, high = _exact_interval(agreed, len(pairs))
    return Agreement(
        rubric=f"{labelled[0].rubric}/{rubric.version}",
        decided_by="rules" if judge is None else judge.name,
        n=len(pairs),
        share=agreed / len(pairs) if pairs else 0.0,
        low=low,
        high=high,
        kappa=cohens_kappa(pairs),
        not_judged=len(given) - len(pairs),
        confusions=Counter(pair for pair in pairs if pair[0] != pair[1]),
    )


def cohens_kappa(pairs: Sequence[tuple[str, str]]) -> float:
    """Agreement beyond chance, in [-1, 1]; 0 where there is nothing to agree on."""
    if not pairs:
        return 0.0
    ours, theirs = Counter(label for label, _ in pairs), Counter(label for _, label in pairs)
    chance = sum(ours[label] * theirs[label] for label in ours) / len(pairs) ** 2
    observed = sum(one == other for one, other in pairs) / len(pairs)
    return 1.0 if chance == 1 else (observed - chance) / (1 - chance)


def _exact_interval(agreed: int, total: int) -> tuple[float, float]:
    if not total:
        return 0.0, 1.0
    from scipy.stats import binomtest

    interval = binomtest(agreed, total).proportion_ci(0.95, "exact")
    return float(interval.low), float(interval.high)
