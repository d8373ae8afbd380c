"""NeMo-RL's environment: its conversations in, its rewards out, judged like every other form of the reward.

NeMo-RL wants a subclass of its `EnvironmentInterface` that is a Ray actor. This is what such an actor does, without
NeMo-RL imported, so that it needs none to be tested; docs/rewards.md has the ten lines around it.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mellum_eval.rewards import background
from mellum_eval.rewards.options import NotJudged, Options
from mellum_eval.rewards.plain import judge_rows

if TYPE_CHECKING:
    from torch import Tensor

Log = Sequence[Mapping[str, Any]]
"""A conversation: messages with `role` and `content`, and token ids that are not looked at."""


class Return(NamedTuple):
    """The fields of NeMo-RL's `EnvironmentReturn`, by its names and in its order; N conversations."""

    observations: list[dict[str, str]]
    """N messages of the role `environment`."""
    metadata: list[Any]
    """As given."""
    next_stop_strings: list[None]
    rewards: Tensor
    """float32 [N], the share of tests passed."""
    terminateds: Tensor
    """bool [N], all true: an episode is one answer."""
    answers: list[str | None] | None = None


class NemoRlEnvironment:
    """What the actor does. A conversation's metadata is a mapping with the check under `check` or `ground_truth`."""

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        """Starts nothing yet.

        Args:
            config: The environment's section of NeMo-RL's `env`: options of `Options`.
        """
        self.options = Options(**(config or {}))

    def step(self, message_log_batch: Sequence[Log], metadata: Sequence[Mapping[str, Any]]) -> Return:
        """Judge the last answer of every conversation, all at the same time.

        Raises:
            NotJudged: One could not be judged, by our fault. A tensor has no place for that, and a zero would teach
                something false; NeMo-RL's driver stops there.
            ValueError: A check is missing or malformed; names the conversation and the field.
            SandboxUnavailable: There is no sandbox here; says how to mend that.
        """
        import torch

        if len(message_log_batch) != len(metadata):
            raise ValueError(f"metadata: {len(metadata)} are given for {len(message_log_batch)} conversations")
        rows = []
        for number, (log, facts) in enumerate(zip(message_log_batch, metadata, strict=True)):
            check = facts.get("check", facts.get("ground_truth")) if isinstance(facts, Mapping) else None
            if check is None:
                raise ValueError(f"row {number}: metadata.check: required; what the conversation's answer must satisfy")
            # Token ids are tensors, and nothing that is judged.
            rows.append((check, [{"role": one["role"], "content": one["content"]} for one in log]))
        verdicts = background.wait(self.options, lambda judges: judge_rows(judges, rows, self.options))
        for number, verdict in enumerate(verdicts):
            if verdict.score is None:
                raise NotJudged(f"row {number} could not be judged: {verdict.message}")
        return Return(
            # Only what came of it: words on hidden tests must not reach a model that is asked again.
            observations=[{"role": "environment", "content": str(verdict.outcome)} for verdict in verdicts],
            metadata=list(metadata),
            next_stop_strings=[None] * len(verdicts),
            rewards=torch.tensor([verdict.score for verdict in verdicts], dtype=torch.float32),
            terminateds=torch.ones(len(verdicts), dtype=torch.bool),
        )

    def global_post_process_and_metrics(
        self, batch: MutableMapping[str, Any]
    ) -> tuple[MutableMapping[str, Any], dict[str, float]]:
        """The batch as it is, and the mean reward, the share of right answers and of answers that ended by themselves.

        Args:
            batch: NeMo-RL's; `rewards` and `is_end` are looked at, where they are.
        """
        metrics: dict[str, float] = {}
        if "rewards" in batch:
            metrics["accuracy"] = float((batch["rewards"] == 1).float().mean())
            metrics["reward"] = float(batch["rewards"].float().mean())
        if "is_end" in batch:
            metrics["fraction_of_samples_properly_ended"] = float(batch["is_end"].float().mean())
        return batch, metrics

    def shutdown(self) -> None:
        """End the sandboxes of this process."""
        background.close()
