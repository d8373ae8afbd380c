"""TRL's reward functions: `GRPOTrainer(reward_funcs=[reward], …)`, with a column `check` in the data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mellum_eval.rewards import background
from mellum_eval.rewards.options import Options
from mellum_eval.rewards.plain import judge_rows
from sandboxes.verdict import Outcome, Verdict

Rows = list[tuple[Any, Any]]


class Reward:
    """A reward function for TRL. An object and no closure, so that a trainer can pickle it."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.__name__ = options.name
        """What TRL calls it in its logs."""

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """Judge a batch, all rows at the same time.

        Args:
            prompts: Not looked at; the check says all.
            completions: Text or chat messages, one a row.
            **columns: `check`: one a row. TRL's `log_extra` and `log_metric`, if given, are told the outcomes.

        Returns:
            The fraction of tests passed for each row, None where it could not be judged.

        Raises:
            ValueError: A check or a completion is malformed; names the row and the field.
            SandboxUnavailable: There is no sandbox here; says how to mend that.
        """
        rows = _rows(prompts, completions, columns)
        verdicts = background.wait(self.options, lambda judges: judge_rows(judges, rows, self.options))
        return _scores(self.options, verdicts, columns)


class AsyncReward:
    """The same for callers with an event loop, and for TRL, which runs async rewards beside each other."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.__name__ = options.name

    async def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """Judge a batch; see `Reward.__call__`."""
        rows = _rows(prompts, completions, columns)
        verdicts = await background.awaited(self.options, lambda v: judge_rows(v, rows, self.options))
        return _scores(self.options, verdicts, columns)


def make_reward(**options: Any) -> Reward:
    """A reward function with other options than `reward`'s; see `Options` for their names."""
    return Reward(Options(**options))


def make_reward_async(**options: Any) -> AsyncReward:
    """An async reward function with other options than `reward_async`'s; see `Options` for their names."""
    return AsyncReward(Options(**options))


def _rows(prompts: Sequence[Any], completions: Sequence[Any], columns: dict[str, Any]) -> Rows:
    if "check" not in columns:
        raise ValueError("check: the data set has no such column; it holds what each row's completion must satisfy")
    checks = columns["check"]
    if isinstance(checks, (str, dict)) or not len(prompts) == len(completions) == len(checks):
        raise ValueError(
            f"check: a list with one entry for each of {len(completions)} completions "
            f"({len(prompts)} prompts) is wanted"
        )
    return list(zip(checks, completions, strict=True))


def _scores(options: Options, verdicts: list[Verdict], columns: dict[str, Any]) -> list[float | None]:
    log_extra: Callable[[str, list[Any]], None] | None = columns.get("log_extra")
    log_metric: Callable[[str, float], None] | None = columns.get("log_metric")
    if callable(log_extra):
        log_extra(f"{options.name}/outcome", [str(verdict.outcome) for verdict in verdicts])
    if callable(log_metric) and verdicts:
        for outcome in (Outcome.TAMPERED, Outcome.INFRA_ERROR):
            share = sum(verdict.outcome is outcome for verdict in verdicts) / len(verdicts)
            log_metric(f"{options.name}/{outcome}", share)
    return [verdict.score for verdict in verdicts]


reward = Reward(Options())
reward_async = AsyncReward(Options())
