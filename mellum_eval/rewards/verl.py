"""verl's custom reward functions: `custom_reward_function.path` and `.name` point here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mellum_eval.rewards import background
from mellum_eval.rewards.options import NotJudged, Options
from mellum_eval.rewards.plain import judge_rows
from sandboxes.verdict import Verdict


def compute_score(
    data_source: str, solution_str: Any, ground_truth: Any, extra_info: Any = None, **options: Any
) -> float:
    """The score of one solution.

    Args:
        data_source: Not looked at: the check says all.
        solution_str: The decoded response.
        ground_truth: Contract 3's object without id and answer, or its JSON text.
        extra_info: Not looked at.
        **options: See `Options`; verl passes on what stands in `custom_reward_function.reward_kwargs`.

    Returns:
        The fraction of tests passed.

    Raises:
        NotJudged: It could not be judged, and it was our fault.
        ValueError: The check is malformed; names the field.
        SandboxUnavailable: There is no sandbox here; says how to mend that.
    """
    return compute_scores([data_source], [solution_str], [ground_truth], [extra_info], **options)[0]


async def compute_score_async(
    data_source: str, solution_str: Any, ground_truth: Any, extra_info: Any = None, **options: Any
) -> float:
    """`compute_score` for verl's async reward loop."""
    chosen = Options(**options)
    verdicts = await background.awaited(chosen, lambda v: judge_rows(v, [(ground_truth, solution_str)], chosen))
    return _scores(verdicts)[0]


def compute_scores(
    data_sources: Sequence[str],
    solution_strs: Sequence[Any],
    ground_truths: Sequence[Any],
    extra_infos: Sequence[Any] | None = None,
    **options: Any,
) -> list[float]:
    """The scores of many solutions, judged at the same time: for verl's batch reward manager, the faster way."""
    chosen = Options(**options)
    if len(solution_strs) != len(ground_truths):
        raise ValueError(f"ground_truths: {len(ground_truths)} are given for {len(solution_strs)} solutions")
    rows = list(zip(ground_truths, solution_strs, strict=True))
    return _scores(background.wait(chosen, lambda judges: judge_rows(judges, rows, chosen)))


def _scores(verdicts: list[Verdict]) -> list[float]:
    scores: list[float] = []
    for number, verdict in enumerate(verdicts):
        if verdict.score is None:
            raise NotJudged(f"row {number} could not be judged: {verdict.message}")
        scores.append(verdict.score)
    return scores
