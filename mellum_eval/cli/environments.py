"""What RLVR trains on: the suites' problems as tasks, and their own verifiers as rewards.

The model's room may not import the suites; the command line may, and hands this in. Graders of evaluation and rewards
of training are the same objects, over one pool that judges while the next answers are drawn.

- An answer in which nothing can be judged has reward 0, and its outcome and message say why.
- What could not be judged by our own fault is tried again, then the rollout is dropped: it is never a 0.
- Only the train side of a generated suite is trained on; validation is the held-out side that is evaluated too.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from mellum_eval.rewards import background
from mellum_eval.rewards.options import Options
from mellum_eval.rewards.turns import attempt_by
from mellum_model.post_training.rlvr.environment import Episode, GoOn, Judged, Reply, Split, Task
from sandboxes.check import CallsCheck
from sandboxes.verdict import Verdict
from sandboxes.verify import Judges
from suites import registry
from suites.problem import Problem
from suites.quick import QuickSuite
from suites.suite import Suite

TRIES = 3
PAUSE_S = 1.0
"""Between tries; four times as long each time: an engine that restarts is back within seconds."""
HELD_OUT = 10
"""One in so many problems of a suite that has no split of its own is validated and never trained on."""
DOMAINS = {
    "code": "quick_code",
    "math": "quick_math",
    "tools": "quick_tools",
    "instructions": "quick_chat",
    "choice": "quick_knowledge",
    "safety": "quick_safety",
}
"""Kinds of environments that need no data: the generated suites."""


def openers(options: Options) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
    """Environments by the kinds that recipes use.

    Args:
        options: How to judge.
    """
    found: dict[str, Callable[[Mapping[str, Any]], Any]] = {
        kind: partial(_generated, suite, options) for kind, suite in DOMAINS.items()
    }
    found["repair"] = partial(_repair, options)
    found["suite"] = partial(_of_suite, options)
    found["reasoning_gym"] = partial(_reasoning_gym, options)
    return found


def _generated(name: str, options: Options, given: Mapping[str, Any]) -> SuiteEnvironment:
    """`size` and `seed` of the train side, `levels` to keep (1 is one step), and `validation` problems."""
    _known(given, "size", "seed", "levels", "validation")
    return SuiteEnvironment(registry.get(name), options, *_sides(name, given))


def _repair(options: Options, given: Mapping[str, Any]) -> RepairEnvironment:
    """As `code`, and `shown`: how many tests the prompt shows."""
    _known(given, "size", "seed", "levels", "validation", "shown")
    return RepairEnvironment(
        registry.get("quick_code"), options, *_sides("quick_code", given), _whole(given, "shown", 2)
    )


def _of_suite(options: Options, given: Mapping[str, Any]) -> SuiteEnvironment:
    """`name`: a registered suite with data at hand. One in ten of its problems is held out."""
    _known(given, "name")
    name = given.get("name")
    if not isinstance(name, str):
        raise ValueError("name: the name of a suite is needed, such as mbpp_plus")
    try:
        suite = registry.get(name)
    except registry.UnknownSuite as error:
        raise ValueError(f"name: {error}") from None
    if isinstance(suite, QuickSuite):
        raise ValueError(f"name: {name} is generated; use one of the kinds {', '.join(DOMAINS)}")
    sides: dict[Split, list[Problem]] = {"train": [], "validation": []}
    for problem in suite.problems():
        number = int.from_bytes(hashlib.sha256(problem.id.encode()).digest()[:8], "big")
        sides["train" if number % HELD_OUT else "validation"].append(problem)
    return SuiteEnvironment(suite, options, sides["train"], sides["validation"])


def _reasoning_gym(options: Options, given: Mapping[str, Any]) -> Any:
    from mellum_eval.cli.reasoning_gym import ReasoningGym

    return ReasoningGym(given)


def _sides(name: str, given: Mapping[str, Any]) -> tuple[list[Problem], list[Problem]]:
    suite = type(registry.get(name))
    assert issubclass(suite, QuickSuite)
    levels = given.get("levels")
    if levels is not None and not (isinstance(levels, list) and set(levels) <= {1, 2, 3} and levels):
        raise ValueError(f"levels: a list of 1, 2 and 3 is needed, not {levels!r}")
    # Another seed than that of the fine-tuning data: the same problems were its lessons.
    drawn = suite.instances("train", _whole(given, "size", 4000), _whole(given, "seed", 2))
    held_out = registry.get(f"{name}:full").problems()
    train, validation = (
        [problem for problem in side if levels is None or problem.metadata["level"] in levels]
        for side in (drawn, held_out)
    )
    return train, validation[: _whole(given, "validation", len(validation))]


def _known(given: Mapping[str, Any], *names: str) -> None:
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise ValueError(f"no such option: {', '.join(unknown)}; there are {', '.join(names)}")


def _whole(given: Mapping[str, Any], name: str, default: int) -> int:
    value = given.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name}: a whole number is needed, not {value!r}")
    return value


class SuiteEnvironment:
    """Problems of a suite, judged by the suite's own check. See `Environment`."""

    def __init__(self, suite: Suite, options: Options, train: Sequence[Problem], validation: Sequence[Problem]) -> None:
        self._suite, self._options = suite, options
        self._problems = {problem.id: problem for problem in (*train, *validation)}
        sides: dict[Split, Sequence[Problem]] = {"train": train, "validation": validation}
        self._tasks = {split: [self.task(problem) for problem in problems] for split, problems in sides.items()}

    def task(self, problem: Problem) -> Task:
        """A problem as it is asked when it is evaluated."""
        prompt = self._suite.render(problem, chat=True)
        messages = tuple({"role": turn.role, "content": turn.content} for turn in prompt.messages)
        return Task(problem.id, messages, prompt.tools)

    def tasks(self, split: Split) -> Sequence[Task]:
        """All of a side."""
        return self._tasks[split]

    def problem(self, task: Task) -> Problem:
        """What a task was made of."""
        return self._problems[task.id]

    def begin(self, task: Task) -> Episode:
        """One answer, and its verdict."""
        return _OneAnswer(self, self.problem(task))

    def judge(self, problem: Problem, text: str) -> Future[Reply]:
        """The verdict on an answer, in the background."""

        async def work(judges: Judges) -> Reply:
            return judged(await _verdict(judges, self._suite, problem, text))

        return background.submit(self._options, work)


@dataclass(slots=True)
class _OneAnswer:
    environment: SuiteEnvironment
    problem: Problem

    @property
    def last(self) -> bool:
        return True

    def answer(self, text: str, finish: str) -> Future[Reply]:
        return self.environment.judge(self.problem, text)


class RepairEnvironment(SuiteEnvironment):
    """Code in two attempts: some tests are shown, and what they say of the first attempt; all tests are the reward.

    Whoever writes the shown results into the code passes no hidden test. A first attempt that is right ends it.
    """

    def __init__(
        self, suite: Suite, options: Options, train: Sequence[Problem], validation: Sequence[Problem], shown: int
    ) -> None:
        self.shown = shown
        super().__init__(suite, options, train, validation)

    def task(self, problem: Problem) -> Task:
        """The problem and the tests that are shown."""
        task = super().task(problem)
        check = problem.check
        if not isinstance(check, CallsCheck) or check.calls is None or check.expected is None:
            raise ValueError(f"{problem.id}: its tests cannot be shown")
        examples = zip(check.calls[: self.shown], check.expected, strict=False)
        lines = [f"{check.entry_point}({', '.join(map(repr, call))}) is {expected!r}." for call, expected in examples]
        *before, last = task.messages
        return Task(task.id, (*before, {**last, "content": f"{last['content']} {' '.join(lines)}"}), task.tools)

    def begin(self, task: Task) -> Episode:
        """Up to two answers."""
        return _TwoAttempts(self, self._problems[task.id])

    def attempt(self, problem: Problem, text: str, *, last: bool) -> Future[Reply]:
        """The verdict on an attempt by all tests, or what the shown ones say of it."""
        check = problem.check.model_dump(exclude_none=True)
        options = self._options

        async def work(judges: Judges) -> Reply:
            found = await attempt_by(judges, check, text, self.shown, options)
            if found.verdict.passed is not False or last:
                return judged(found.verdict)
            return GoOn(({"role": "user", "content": f"{found.feedback} Write it again."},))

        return background.submit(options, work)


@dataclass(slots=True)
class _TwoAttempts:
    environment: RepairEnvironment
    problem: Problem
    attempts: int = 0

    @property
    def last(self) -> bool:
        return self.attempts == 1

    def answer(self, text: str, finish: str) -> Future[Reply]:
        self.attempts += 1
        return self.environment.attempt(self.problem, text, last=self.attempts > 1)


async def _verdict(judges: Judges, suite: Suite, problem: Problem, text: str) -> Verdict:
    answer = suite.answer(problem, text)
    for attempt in range(TRIES):
        if attempt:
            await asyncio.sleep(PAUSE_S * 4 ** (attempt - 1))
        verdict = await judges.verify(problem.check, answer)
        if verdict.score is not None:
            break
    return verdict


def judged(verdict: Verdict) -> Judged:
    """A verdict as the end of an episode: the reward is the share of tests passed."""
    return Judged(verdict.score, verdict.passed, str(verdict.outcome), verdict.message)
