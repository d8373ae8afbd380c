"""What all forms of the reward share: options, and the error for what could not be judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandboxes.check import Limits
from sandboxes.choose import Choice


class NotJudged(RuntimeError):
    """It was our fault and no answer's: there is no score. Skip the sample or try again, but do not count a zero."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to judge.

    Attributes:
        name: What trainers call the reward in their logs.
        allow_shared: Take checks whose tests share the candidate's process. A policy can learn to forge those.
        sandbox: `auto` takes Docker where it can be had, else the `local` sandbox.
        workers: Judgements at the same time; the number of CPUs if not given. Rewards with the same sandbox and
            workers share one pool.
        ray: Address of a Ray cluster whose nodes judge, `auto` for the one that this process or machine is part of;
            `workers` are then those of each node. On this machine if not given.
        service: Address of a service (`mellum-eval serve`) that judges instead, such as `http://10.0.0.5:8080`; what it
            judges with is its own affair. Its token, if it wants one, is in the environment, as `MELLUM_TOKEN`.
        patience_s: Seconds that such a service may be away before judging counts as impossible.
        limits: Instead of every check's own limits: `Limits`, or their object of contract 3.
    """

    name: str = "mellum_eval"
    allow_shared: bool = False
    sandbox: Choice = "auto"
    workers: int | None = None
    ray: str | None = None
    service: str | None = None
    patience_s: float = 600.0
    limits: Limits | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.sandbox not in ("auto", "docker", "local"):
            raise ValueError(f"sandbox: auto, docker or local is wanted, not {self.sandbox!r}")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers: at least 1 is wanted, not {self.workers}")
        if self.patience_s <= 0:
            raise ValueError(f"patience_s: seconds above 0 are wanted, not {self.patience_s}")
        if self.service is not None:
            if self.sandbox != "auto" or self.workers is not None or self.ray is not None:
                raise ValueError("service: sandbox, workers and ray are the service's own; give them to it")
            from mellum_eval.rewards.remote import service_url  # httpx, where it is wanted

            object.__setattr__(self, "service", service_url(self.service))
        if isinstance(self.limits, Mapping):
            object.__setattr__(self, "limits", Limits.model_validate(dict(self.limits)))
