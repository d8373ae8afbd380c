"""Whether a suite's own verifier agrees with its own gold: the first thing to ask of any benchmark.

Every gold answer must pass, every answer that the data set knows to be wrong must not, and an empty answer must get
exactly what the reference gives it, which is nothing, but for problems where making no call is right. Problems whose
gold the data itself has wrong are named by the suite, with evidence, and must not pass: an exception that has mended
itself is a finding too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from sandboxes.check import Answer, Check
from sandboxes.sandbox import Sandbox
from sandboxes.verdict import Verdict
from suites.playing import final_answer
from suites.problem import Problem
from suites.sources import find
from suites.suite import Suite

TRIES = 3
"""For an answer that could not be judged, as a run has them."""

Verify = Callable[[Check, Answer], Awaitable[Verdict]]


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict that should have been another."""

    problem: str
    answer: str
    """`gold`, `wrong` or `empty`."""
    expected: str
    verdict: Verdict

    def __str__(self) -> str:
        said = self.verdict.message or str(self.verdict.outcome)
        return f"{self.problem}: {self.answer} answer should {self.expected}, but is {self.verdict.outcome} ({said})"


@dataclass(slots=True)
class Validation:
    """What was found of one suite."""

    suite: str
    problems: int = 0
    with_gold: int = 0
    gold_passed: int = 0
    with_wrong: int = 0
    """Wrong answers that the data set has."""
    wrong_passed: int = 0
    empty_passed: int = 0
    empty_right: int = 0
    """How many problems an empty answer is right to, as the reference says."""
    known: dict[str, str] = field(default_factory=dict)
    """Problem → evidence, for gold that the data itself has wrong."""
    let_pass: dict[str, str] = field(default_factory=dict)
    """Problem → evidence, for wrong answers that the data's own tests let pass."""
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything was as it should be."""
        return not self.findings


def missing_data(suite: Suite) -> tuple[str, ...]:
    """Files of the suite that are neither in the mirror nor in the cache. Touches no network."""
    return tuple(source.file for source in suite.data() if find(source) is None)


async def validate(
    suite: Suite,
    sandbox: Sandbox,
    verify: Verify,
    *,
    at_once: int = 8,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Validation:
    """Judge the gold answer, the known wrong ones and an empty answer of every problem.

    Args:
        suite: What to validate.
        sandbox: Where it prepares its checks.
        verify: The verifiers' façade.
        at_once: Answers judged at the same time.
        progress: Called with the answers judged so far and in all.

    Raises:
        SourceMissing, SourceAltered: The suite's data.
        SandboxError: The checks could not be prepared.
    """
    problems = await suite.prepare(sandbox)
    result = Validation(suite.full_name, problems=len(problems))
    total = len(problems) + sum((problem.gold is not None) + len(problem.wrong) for problem in problems)
    slots, done = asyncio.Semaphore(at_once), 0

    async def judge(problem: Problem, text: str) -> Verdict:
        nonlocal done
        async with slots:
            answer = await final_answer(suite, problem, text, sandbox)
            for _ in range(TRIES):
                verdict = await verify(problem.check, answer)
                if verdict.score is not None:
                    break
        done += 1
        progress(done, total)
        return verdict

    async def one(problem: Problem) -> None:
        _empty(suite, problem, await judge(problem, ""), result)
        if problem.gold is not None:
            _gold(suite, problem, await judge(problem, problem.gold), result)
        for text in problem.wrong:
            _wrong(suite, problem, await judge(problem, text), result)

    # Longest first: one that is slow and last would keep all but one worker waiting.
    longest_first = sorted(problems, key=lambda problem: -problem.check.limits.cpu_s)
    await asyncio.gather(*(one(problem) for problem in longest_first))
    order = {problem.id: place for place, problem in enumerate(problems)}
    result.findings.sort(key=lambda finding: order[finding.problem])
    return result


def _empty(suite: Suite, problem: Problem, verdict: Verdict, result: Validation) -> None:
    right = suite.empty_is_right(problem)
    result.empty_right += right
    result.empty_passed += verdict.passed is True
    evidence = suite.right_wrong.get(problem.id)
    if evidence is not None and not problem.wrong:  # the data knows no other wrong answer
        result.let_pass[problem.id] = evidence
        right = True
    if verdict.passed is not right:
        result.findings.append(Finding(problem.id, "empty", "pass" if right else "fail", verdict))


def _wrong(suite: Suite, problem: Problem, verdict: Verdict, result: Validation) -> None:
    result.with_wrong += 1
    result.wrong_passed += verdict.passed is True
    evidence = suite.right_wrong.get(problem.id)
    if evidence is not None:
        result.let_pass[problem.id] = evidence
    if verdict.passed is not (evidence is not None):
        result.findings.append(Finding(problem.id, "wrong", "fail" if evidence is None else "pass", verdict))


def _gold(suite: Suite, problem: Problem, verdict: Verdict, result: Validation) -> None:
    result.with_gold += 1
    result.gold_passed += verdict.passed is True
    evidence = suite.wrong_gold.get(problem.id)
    if evidence is not None:
        result.known[problem.id] = evidence
    if verdict.passed is not (evidence is None):
        result.findings.append(Finding(problem.id, "gold", "pass" if evidence is None else "fail", verdict))
