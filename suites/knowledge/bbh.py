"""BIG-Bench Hard (Suzgun et al. 2022): 27 tasks on which models fell behind people, three worked examples each.

The benchmark's own chain-of-thought prompts come before every question, the same for every run: as one text for base
models, as conversation before the question for chat models. Answers are a letter in parentheses, or a short text that
must be the same. Problems of one task share a cluster.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from sandboxes.check import Check, ChoiceCheck, ExactCheck
from suites.knowledge.bbh_sources import QUESTIONS, TASKS, WORKED
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource, read_json, read_text
from suites.suite import Suite

_OPTION = re.compile(r"^\(([A-Z])\)", re.MULTILINE)
_LEAD = "Let's think step by step."


class Bbh(Suite):
    """All 27 tasks, or one as a variant."""

    name = "bbh"
    category = "knowledge"
    version = "1"
    summary = "6,511 questions of BIG-Bench Hard's 27 tasks, after three worked examples"
    sources = (*QUESTIONS.values(), *WORKED.values())
    sampling = Sampling(max_tokens=1024)
    variants = TASKS

    def data(self) -> tuple[DataSource, ...]:
        """Questions and worked examples of the variant's task."""
        return self.sources if self.variant is None else (QUESTIONS[self.variant], WORKED[self.variant])

    def problems(self) -> Sequence[Problem]:
        """Ids are task and row number."""
        tasks = TASKS if self.variant is None else (self.variant,)
        return [
            Problem(
                id=f"{task}/{number}",
                ask=row["input"].strip(),
                check=_check(row["input"], row["target"].strip()),
                gold=f"So the answer is {row['target'].strip()}.",
                cluster=task,
                metadata={"task": task},
            )
            for task in tasks
            for number, row in enumerate(read_json(QUESTIONS[task])["examples"])
        ]

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """Three worked examples, then the question."""
        introduction, shots = _worked(str(problem.metadata["task"]))
        if chat:
            messages = []
            for place, (question, answer) in enumerate(shots):
                head = (
                    f'{introduction} End your reply with "So the answer is" and the answer.\n\n' if place == 0 else ""
                )
                messages += [Message("user", head + question), Message("assistant", answer)]
            return Prompt(messages=(*messages, Message("user", problem.ask)))
        worked = "".join(f"Q: {question}\nA: {answer}\n\n" for question, answer in shots)
        return Prompt(text=f"{introduction}\n\n{worked}Q: {problem.ask}\nA: {_LEAD}", stop=("\nQ:", "\n\n"))


def _check(question: str, target: str) -> Check:
    letters = _OPTION.findall(question)
    lettered = re.fullmatch(r"\(([A-Z])\)", target)
    if lettered is not None and lettered[1] in letters:
        return ChoiceCheck(kind="choice", answer=lettered[1], choices=max(2, ord(max(letters)) - ord("A") + 1))
    return ExactCheck(kind="exact", answer=target, normalise="whitespace")


@cache
def _worked(task: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """What the task is, and its examples as question and answer; what stands before the dashes is a notice."""
    text = read_text(WORKED[task]).partition("-----\n")[2].strip()
    introduction, *shots = re.split(r"\n+Q: ", text)
    return introduction.strip(), tuple(_example(shot) for shot in shots)


def _example(shot: str) -> tuple[str, str]:
    question, _, answer = shot.partition("\nA: ")
    return question.strip(), answer.strip()
