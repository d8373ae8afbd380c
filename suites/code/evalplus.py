"""What HumanEval+ and MBPP+ share: EvalPlus's rules (Liu et al. 2023, release 0.3.1) as `calls` checks.

A task has base and plus inputs; what its canonical solution returns for them is expected. A result is right if it
equals that, or, for floats and flat sequences of them, is close (`allclose`); some tasks have rules of their own.
Expected values are not in the data: `prepare` runs the canonical solutions in the arena, as untrusted as any program,
and keeps inputs and outputs in the user's cache.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from sandboxes.check import Answer, CallsCheck, Comparison, Limits
from sandboxes.sandbox import Sandbox
from suites.code.oracle import Expected, Oracle
from suites.code.program import program_of
from suites.problem import Problem
from suites.sampling import Sampling
from suites.suite import Suite

MEMORY_MB = 2048
"""EvalPlus grants 4 GiB; the hungriest canonical solution takes a quarter of this."""
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Task:
    """One row of the data, inputs as the function gets them."""

    id: str
    ask: str
    entry_point: str
    solution: str
    """The canonical one, a whole program."""
    base: list[Any]
    plus: list[Any]
    atol: float
    compare: Comparison = "allclose"
    second_reading: Callable[..., Any] | None = None
    """Another value that EvalPlus accepts, from the arguments."""
    cpu_s: float = 10.0
    """For all calls together; a fixed number, so that no verdict hangs on how fast the solution ran here."""
    oracle: str = ""
    """The program whose results are expected, where it is not the solution."""

    @property
    def limits(self) -> Limits:
        """What a program may use for all calls."""
        return Limits(cpu_s=self.cpu_s, memory_mb=MEMORY_MB)


class EvalPlusSuite(Suite):
    """Tasks in, problems out."""

    category = "code"
    metric = "pass@1"
    sampling = Sampling(max_tokens=1024)
    prompt_is_code: ClassVar[bool]

    @abstractmethod
    def tasks(self) -> Iterator[Task]:
        """The rows of the data.

        Raises:
            SourceMissing, SourceAltered: As `problems`.
        """

    @abstractmethod
    def gold(self, task: Task) -> str:
        """The canonical solution as a model would write it."""

    def problems(self) -> Sequence[Problem]:
        """Tasks to look at and to ask; their checks cannot be judged before `prepare` has filled them in."""
        return [self._problem(task, Expected()) for task in self.tasks()]

    async def prepare(self, sandbox: Sandbox, *, wanted: Collection[str] | None = None) -> Sequence[Problem]:
        """Tasks with expected values, computed in the sandbox unless the cache has them."""
        oracle = Oracle(sandbox)
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(task: Task) -> Problem:
            async with slots:
                expected = await oracle.expected(
                    task.oracle or task.solution, task.entry_point, self._inputs(task), task.limits
                )
                return self._problem(task, expected)

        return await asyncio.gather(*(one(task) for task in self.tasks() if wanted is None or task.id in wanted))

    def answer(self, problem: Problem, text: str, tool_calls: Sequence[dict[str, Any]] = ()) -> Answer:
        """The program; where the prompt is the head of a function, an answer may just go on from it."""
        return program_of(text, _check(problem).entry_point, problem.ask if self.prompt_is_code else None)

    def _inputs(self, task: Task) -> list[Any]:
        return task.base if self.variant == "base" else [*task.base, *task.plus]

    def _problem(self, task: Task, expected: Expected) -> Problem:
        inputs = self._inputs(task)
        reading = task.second_reading
        check = CallsCheck(
            kind="calls",
            entry_point=task.entry_point,
            calls_b64=expected.calls,
            expected_b64=expected.results,
            also_py=repr([[reading(*arguments)] for arguments in inputs]) if reading else None,
            atol=task.atol,
            compare=task.compare,
            groups={"base": len(task.base)},
            limits=task.limits,
        )
        return Problem(
            id=task.id,
            ask=task.ask,
            check=check,
            gold=self.gold(task),
            metadata={"entry_point": task.entry_point, "calls": len(inputs)},
        )


def not_none(task: Task) -> Task:
    """A task whose canonical result is only asked whether it is None: matches and the like cannot leave the arena."""
    name = task.entry_point
    asked = f"_value = {name}\n\n\ndef {name}(*arguments):\n    return _value(*arguments) is not None\n"
    return replace(task, compare="not_none", oracle=f"{task.solution}\n\n{asked}")


def _check(problem: Problem) -> CallsCheck:
    if not isinstance(problem.check, CallsCheck):
        raise TypeError(f"{problem.id} is not a problem of calls")
    return problem.check
