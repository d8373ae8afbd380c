"""Any task of lm-evaluation-harness (EleutherAI; the extra `lm-eval`) through this harness's models, store and report.

`lm_eval:NAME` is a task that comes with the package, or a group with a score of its own; `lm_eval:/path/task.yaml` is
one of a file. Prompts, worked examples,
stop strings and sampling are the task's own; for a chat model they pass through its template, worked examples as turns
of their own. Its own filters and metrics judge, from stored answers, and where a metric is no mean over documents its
own aggregation makes the score. The package lives in a process of its own (`sandboxes.lm_eval_worker`).

Left out are metrics that need more than numbers of each document; `suites show` names them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from sandboxes.check import Answer, LmEvalCheck
from sandboxes.errors import SandboxError
from sandboxes.lm_eval_task import LmEvalTask, TaskRefused, open_task
from sandboxes.verifiers.lm_eval import part_name
from suites.problem import Message, Problem, Prompt
from suites.registry import UnknownSuite
from suites.sampling import Sampling
from suites.sources import MIRROR_VARIABLE, SourceMissing, hub_is_offline
from suites.suite import Suite

INSTALL = 'pip install "mellum-eval[lm-eval]"'


class LmEval(Suite):
    """One task; which one is the variant."""

    name = "lm_eval"
    category = "other"
    version = "1"
    summary = "any task of lm-evaluation-harness: lm_eval:NAME, or lm_eval:/path/task.yaml"
    has_gold = False

    def __init__(self, variant: str | None = None) -> None:
        if variant is not None and Path(variant).suffix in (".yaml", ".yml"):
            variant = str(Path(variant).expanduser().absolute())  # a run is judged again from wherever one is
        super().__init__(variant)
        self._prompts: dict[bool, list[dict[str, Any]]] = {}

    def problems(self) -> Sequence[Problem]:
        """Ids are the documents' numbers in the split that the task evaluates, of a group behind the task's name.

        Raises:
            UnknownSuite: There is no such task, or it is a group without a score of its own.
            SourceMissing: The package is not installed, the task's data cannot be had, or nothing here can run it.
        """
        task = self._opened()
        facts = task.facts
        self.version = f"{facts['version']}, data {facts['sha256'][:12]}"
        first = next((metric for metric in facts["metrics"] if metric not in facts["of_all"]), facts["metrics"][0])
        self.metric = part_name(f"{first},{facts['filters'][0]}")
        self.lower_is_better = not facts["higher_is_better"][first]
        self.sampling = Sampling(**{key: facts[key] for key in ("temperature", "top_p", "top_k", "max_tokens")})
        left_out = f"; left out: {', '.join(facts['left_out'])}" if facts["left_out"] else ""
        self.summary = f"{facts['version']}, {facts['shots']} worked examples{left_out}"
        return [
            Problem(
                id=identifier,
                ask="",
                check=LmEvalCheck(
                    kind="lm_eval",
                    task=str(self.variant),
                    document=number,
                    sha256=digest,
                    metric=self.metric,
                    lower_is_better=self.lower_is_better,
                ),
            )
            for number, (identifier, digest) in enumerate(zip(facts["ids"], facts["sums"], strict=True))
        ]

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """What the task asks of a document."""
        if chat not in self._prompts:
            self._prompts[chat] = self._asked("prompts", chat=chat)
        made = self._prompts[chat][cast("LmEvalCheck", problem.check).document]
        choices = tuple(made.get("choices", ()))
        stop = tuple(text for text in self._opened().facts["until"] if text) if not choices else ()
        if chat:
            messages = tuple(Message(turn["role"], turn["content"]) for turn in made["messages"])
            return Prompt(messages=messages, stop=stop, choices=choices)
        contexts = tuple(made.get("contexts", ()))
        return Prompt(text=made.get("context", ""), stop=stop, choices=choices, contexts=contexts)

    def ranked(self, problem: Problem, loglikelihoods: Sequence[float], greedy: Sequence[bool]) -> Answer:
        """Log-likelihoods; where one continuation is ranked, 1 or 0 after it: whether it is the greedy one."""
        told = map(float, greedy) if self._opened().facts["greedy"] else ()
        return (*loglikelihoods, *told)

    def aggregate(self, parts: Mapping[str, Sequence[float]]) -> Mapping[str, tuple[float, float]]:
        """Metrics that are no mean over documents: what each brought stands in the parts `NAME/0`, `NAME/1`."""
        values = {}
        for name in (name.removesuffix("/0") for name in parts if name.endswith("/0")):
            columns = [parts[f"{name}/{place}"] for place in range(9) if f"{name}/{place}" in parts]
            values[name if "," in name else f"{name},none"] = [list(row) for row in zip(*columns, strict=True)]
        made = self._asked("aggregate", values=values) if values else {}
        return {part_name(name): (value, error) for name, (value, error) in made.items()}

    def is_share(self, metric: str) -> bool:
        """All but perplexities and bits, a group's tasks' among them."""
        return metric.rpartition(":")[2].partition(",")[0] not in self._opened().facts["no_shares"]

    def _asked(self, do: str, **given: Any) -> Any:
        try:
            return self._opened().ask(do, **given)
        except (TaskRefused, SandboxError) as error:
            raise SourceMissing(f"{self.full_name}: {error}", "see docs/suites.md for what the bridge runs") from error

    def _opened(self) -> LmEvalTask:
        name = str(self.variant)
        offline = bool(os.environ.get(MIRROR_VARIABLE)) or hub_is_offline()
        try:
            return open_task(name, offline=offline)
        except TaskRefused as error:
            if error.sort == "package":
                raise SourceMissing(f"{self.full_name}: {error}", f"run `{INSTALL}`") from None
            if error.sort == "name":
                raise UnknownSuite(f"{self.full_name}: {error}") from None
            if error.sort == "data":
                mend = "load it where the hub can be reached, or point a YAML task at files of your own"
                if offline:
                    mend = f"unset HF_HUB_OFFLINE and {MIRROR_VARIABLE}, with which nothing is downloaded, or {mend}"
                raise SourceMissing(f"{self.full_name}: {error}", mend) from None
            raise SourceMissing(f"{self.full_name} cannot be run: {error}", "see docs/suites.md") from None
        except SandboxError as error:
            raise SourceMissing(f"{self.full_name} cannot be loaded: {error}", "see docs/suites.md") from None
