"""The base class of every benchmark: a subclass in one short file is the benchmark's definition."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from sandboxes.check import Answer
from sandboxes.sandbox import Sandbox
from suites.conversation import Conversation, ModelTurn
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource

Category = Literal["code", "math", "tools", "knowledge", "long_context", "safety", "chat", "other"]


class Suite(ABC):
    """A benchmark. Instances are cheap: data is read by `problems()` and nowhere else."""

    name: ClassVar[str]
    category: ClassVar[Category]
    version: str
    """Changes whenever a prompt, a check or a metric does: scores of different versions are not comparable."""
    summary: str
    """One line for `suites list`."""
    sources: ClassVar[tuple[DataSource, ...]] = ()
    sampling: Sampling = Sampling()
    metric: str = "accuracy"
    """Name of the mean score over problems, such as `pass@1`; with k samples the pipeline adds pass@k and avg@k."""
    lower_is_better: bool = False
    has_gold: ClassVar[bool] = True
    needs_judge: ClassVar[bool] = False
    """Whether only a judge model can grade it, so that without one it cannot be run at all."""
    wrong_gold: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Problems whose gold answer the data set itself has wrong: id → evidence."""
    right_wrong: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Problems one of whose wrong answers, or else an empty one, the data's own tests let pass: id → evidence."""
    variants: ClassVar[tuple[str, ...]] = ()
    generated: ClassVar[bool] = False
    """Whether its problems are made by a program: copies in a corpus are known by `traces`, not by their wording."""

    def __init__(self, variant: str | None = None) -> None:
        self.variant = variant

    @property
    def full_name(self) -> str:
        """`name` or `name:variant`."""
        return self.name if self.variant is None else f"{self.name}:{self.variant}"

    def data(self) -> tuple[DataSource, ...]:
        """The sources that this variant reads."""
        return self.sources

    def require(self) -> None:
        """See that what asking needs beside data and a model is at hand, such as a provider's key.

        Raises:
            SourceMissing: It is not; says what and how to get it.
        """
        return

    @abstractmethod
    def problems(self) -> Sequence[Problem]:
        """All problems, in the data set's order.

        Raises:
            SourceMissing: A data file is not at hand; the message names it and how to get it.
            SourceAltered: A data file's sha256 is not the one pinned here.
        """

    def prerequisites(self) -> Sequence[Problem]:
        """Conversations that come before problems and are not scored: what each ends with is where others begin.

        A problem that `follows` one of them, and so may they each other, is rendered and conversed about once that one
        has ended, with its answer as `before` in the metadata; before that it is rendered without, for the plan. Each
        sample has prerequisites of its own.
        """
        return ()

    def tokens(self) -> int | None:
        """Tokens of a prompt and its answer, where prompts are made to a length; None where they are as they are."""
        return None

    async def sized(
        self, count: Callable[[str], Awaitable[int]], *, wanted: Collection[str] | None = None
    ) -> Sequence[Problem]:
        """The problems with prompts made to the length of `tokens`, by a model's own count of a text's tokens.

        Ids and checks are those of `problems()`, which goes by an estimate.

        Args:
            count: Tokens of a text.
            wanted: Ids of the problems that will be asked, where not all are: others may be left out.
        """
        return self.problems()

    def traces(self) -> Mapping[str, str]:
        """Of a generated suite, each problem's id and the text by which a copy of it is known."""
        return {}

    async def prepare(self, sandbox: Sandbox, *, wanted: Collection[str] | None = None) -> Sequence[Problem]:
        """The problems with checks that can be judged: what a run, a rescoring and a validation must use.

        A suite whose expected values come from running the data set's own solution computes them here, in the
        sandbox, and keeps them in the user's cache; there `problems()` is for looking and rendering only. Ids and
        prompts are the same as those of `problems()`, so generation may start before this has ended.

        Args:
            sandbox: Where solutions are run.
            wanted: Ids of the problems that will be judged, where not all are: a suite may leave out the others.

        Raises:
            SourceMissing, SourceAltered: As `problems()`.
            SandboxError: The solutions could not be run.
        """
        return self.problems()

    def empty_is_right(self, problem: Problem) -> bool:
        """Whether the reference credits an empty answer to this problem (BFCL where no call is right)."""
        return False

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """The prompt of a problem, for a chat model or for a base model."""
        if chat:
            return Prompt(messages=(Message("user", problem.ask),))
        return Prompt(text=problem.ask)

    def answer(self, problem: Problem, text: str, tool_calls: Sequence[dict[str, Any]] = ()) -> Answer:
        """What of a completion is judged: the raw text, unless the suite judges code or structured calls."""
        return text

    def ranked(self, problem: Problem, loglikelihoods: Sequence[float], greedy: Sequence[bool]) -> Answer:
        """What of ranked choices is judged: their log-likelihoods.

        Args:
            problem: What was asked.
            loglikelihoods: Of each choice.
            greedy: Whether each is what greedy decoding gives; empty where the model does not say.
        """
        return tuple(loglikelihoods)

    def aggregate(self, parts: Mapping[str, Sequence[float]]) -> Mapping[str, tuple[float, float]]:
        """Metrics that are no means over problems: name → value and standard error.

        Args:
            parts: Of each part of the verdicts its values, one a sample that was judged and has that part. A metric
                `NAME` made here takes the parts named `NAME/…`, which are shown nowhere else.
        """
        return {}

    def is_share(self, metric: str) -> bool:
        """Whether a metric that `aggregate` makes lies between 0 and 1, as scores do; a perplexity does not."""
        return True

    def converse(self, problem: Problem, sandbox: Sandbox | None) -> Conversation | None:
        """What answers the model between its turns, for one sample of a problem; None where there is one turn.

        Args:
            problem: What was asked; `render` made the first prompt of it.
            sandbox: Where what the model writes may be run; None only where none is open.
        """
        return None

    def script(self, problem: Problem, text: str) -> Sequence[ModelTurn]:
        """The turns that play a gold or a known wrong answer; those after the last are empty."""
        return (ModelTurn(text),)

    @classmethod
    def converses(cls) -> bool:
        """Whether its problems may be conversations."""
        return cls.converse is not Suite.converse
