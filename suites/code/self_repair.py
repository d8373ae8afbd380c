"""Self-repair over HumanEval+ and MBPP+: a first attempt, what the first failing test showed, and a second attempt.

The model is shown tests of the original benchmark alone (`base`), which its prompt is about; the last attempt is judged
by all of them. Where the first attempt passes those it was shown, it stands. What a model is told comes of running its
code on these tests only: of the hidden ones nothing is run before the end.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sandboxes.check import Answer, CallsCheck
from sandboxes.errors import SandboxError
from sandboxes.sandbox import Sandbox
from sandboxes.verifiers.calls import CallsVerifier
from sandboxes.visible import visible_part, words
from suites.code.evalplus import EvalPlusSuite
from suites.code.humaneval_plus import HumanEvalPlus
from suites.code.mbpp_plus import MbppPlus
from suites.conversation import Conversation, GoOn, ModelTurn, Over, Step
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource
from suites.suite import Suite

LONGEST_WORDS = 4000
_AGAIN = (
    "Your code does not pass this test:\n\n{what}\n\nReply with one Python code block that holds the whole repaired "
    "program."
)
_NO_CODE = "There was no Python code in your reply. Reply with one Python code block that holds the whole program."


class SelfRepair(Suite):
    """Over HumanEval+ (without a variant too), or over MBPP+."""

    name = "self_repair"
    category = "code"
    version = "1"
    summary = "HumanEval+ or MBPP+ in two attempts: the second after seeing a failing test of the first"
    sources = (*HumanEvalPlus.sources, *MbppPlus.sources)
    variants = ("humaneval_plus", "mbpp_plus")
    metric = "pass@1"
    sampling = Sampling(max_tokens=1024)

    def __init__(self, variant: str | None = None) -> None:
        super().__init__(variant)
        self._tasks: EvalPlusSuite = MbppPlus() if variant == "mbpp_plus" else HumanEvalPlus()

    def data(self) -> tuple[DataSource, ...]:
        """The tasks'."""
        return self._tasks.data()

    def problems(self) -> Sequence[Problem]:
        """The tasks."""
        return self._tasks.problems()

    async def prepare(self, sandbox: Sandbox, *, wanted: Collection[str] | None = None) -> Sequence[Problem]:
        """The tasks, with expected values."""
        return await self._tasks.prepare(sandbox, wanted=wanted)

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """The first attempt is asked as the benchmark asks it."""
        return self._tasks.render(problem, chat=chat)

    def answer(self, problem: Problem, text: str, tool_calls: Sequence[dict[str, Any]] = ()) -> Answer:
        """The program in an attempt."""
        return self._tasks.answer(problem, text)

    def converse(self, problem: Problem, sandbox: Sandbox | None) -> Conversation:
        """Two attempts.

        Raises:
            SandboxError: There is no sandbox to try the first one in.
        """
        if sandbox is None:
            raise SandboxError("a first attempt cannot be tried without a sandbox")
        return _Attempts(self, problem, sandbox)


class _Attempts:
    def __init__(self, suite: SelfRepair, problem: Problem, sandbox: Sandbox) -> None:
        self._suite, self._problem, self._sandbox = suite, problem, sandbox
        self._second = False

    async def step(self, turn: ModelTurn) -> Step:
        code = self._suite.answer(self._problem, turn.text)
        if self._second:
            return Over(code)
        self._second = True
        if not code:
            return _again(_NO_CODE)
        check = self._problem.check
        assert isinstance(check, CallsCheck)
        shown = visible_part(check.model_copy(update={"stop_at_first_failure": True}), check.groups["base"])
        assert isinstance(shown, CallsCheck)
        verdict = await CallsVerifier(self._sandbox).verify(shown, code)
        if verdict.score is None:
            raise SandboxError(verdict.message)
        return Over(code) if verdict.passed else _again(_AGAIN.format(what=words(verdict)[:LONGEST_WORDS]))

    async def aclose(self) -> None:
        return


def _again(text: str) -> GoOn:
    return GoOn((Message("user", text),))
