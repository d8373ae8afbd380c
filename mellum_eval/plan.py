"""From a spec to everything that will be asked: suites, their problems, rendered, each with its key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from mellum_eval.errors import UserError
from mellum_eval.records import SuiteRecord
from mellum_eval.spec import RunSpec
from suites import registry
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.sources import SourceMissing, sum_of
from suites.suite import Suite


@dataclass(frozen=True, slots=True)
class Question:
    """A problem as this run asks it."""

    problem: Problem
    prompt: Prompt
    key: str


@dataclass(frozen=True, slots=True)
class PlannedSuite:
    """A suite at one setting of the sampling: a row of the scores.

    Attributes:
        name: The suite's full name; `NAME@tT` where the run has several temperatures.
        suite: The suite.
        sampling: As overridden by the spec.
        questions: In the data set's order, after the limit.
        counted: Whether the model's tokenizer counted the length of its prompts, where they were made to one.
        prerequisites: Conversations that come before questions, each after the one that it follows; not scored.
    """

    name: str
    suite: Suite
    sampling: Sampling
    questions: tuple[Question, ...]
    counted: bool = False
    prerequisites: tuple[Question, ...] = ()

    def record(self) -> SuiteRecord:
        """For the manifest."""
        return SuiteRecord(
            name=self.name,
            category=self.suite.category,
            version=self.suite.version,
            metric=self.suite.metric,
            lower_is_better=self.suite.lower_is_better,
            data={source.file: sum_of(source) for source in self.suite.data()},
            sampling=asdict(self.sampling),
            problems=len(self.questions),
            tokens=self.suite.tokens(),
            tokens_by="" if self.suite.tokens() is None else "tokenizer" if self.counted else "estimate",
            prompts_sha256=_prompts_sha256((*self.prerequisites, *self.questions)),
            first_prompt_sha256=_prompts_sha256(self.questions[:1]),
        )

    def slots(self) -> Iterator[tuple[Question, int]]:
        """Every completion wanted: all first samples, then all second ones, so that an early look covers the suite."""
        for sample in range(self.sampling.samples):
            for question in self.questions:
                yield question, sample


def load_suites(spec: RunSpec, *, asking: bool = False) -> list[tuple[Suite, list[Problem]]]:
    """Read the suites' problems, after the limit. Needs no model, so that bad input shows before one is loaded.

    Args:
        spec: What to run.
        asking: Whether a model will be asked: then what that needs must be at hand too (`Suite.require`). A suite of a
            group that lacks it is left out, one that was named itself is not.

    Raises:
        UserError: A suite is unknown, or has no problems.
        SourceMissing: Something is not at hand of a suite or, with `skip_missing`, of every one; names all of them.
        SourceAltered: A suite's data is not the pinned one.
    """
    try:
        names = registry.expand(spec.suites)
        suites = [registry.get(name) for name in names]
    except registry.UnknownSuite as error:
        raise UserError(str(error)) from None
    if not suites:
        raise UserError(f"no suites in {', '.join(spec.suites) or 'the spec'}; see `mellum-eval suites list`")
    loaded, missing, left_out = [], dict[str, SourceMissing](), dict[str, SourceMissing]()
    for suite in suites:
        try:
            if asking:
                suite.require()
        except SourceMissing as error:
            (missing if suite.full_name in spec.suites else left_out)[suite.full_name] = error
            continue
        try:
            problems = evenly(suite.problems(), spec.limit)
        except SourceMissing as error:
            missing[suite.full_name] = error
            continue
        if not problems:
            raise UserError(f"suite {suite.full_name} has no problems")
        loaded.append((suite, problems))
    if missing and not (spec.skip_missing and loaded):
        raise _all_missing(missing, others=len(loaded))
    if not loaded:
        raise _all_missing(left_out, others=0)
    return loaded


def _all_missing(missing: Mapping[str, SourceMissing], *, others: int) -> SourceMissing:
    first = next(iter(missing.values()))
    if len(missing) == 1 and not others:
        return first
    what = first.what if len(missing) == 1 else f"{', '.join(missing)} have no data here (the first: {first.what})"
    return SourceMissing(what, f"{first.mend}; or leave them out by --skip-missing" if others else first.mend)


def plan(
    spec: RunSpec,
    *,
    chat: bool,
    loaded: Sequence[tuple[Suite, list[Problem]]] | None = None,
    counted: Collection[str] = (),
) -> list[PlannedSuite]:
    """Render all prompts.

    Args:
        spec: What to run; `suites` must not be empty.
        chat: For a chat model, else for a base model.
        loaded: What `load_suites` gave, if it was called already; it raises as that does.
        counted: Full names of the suites whose lengths the model's tokenizer counted.
    """
    planned = []
    for suite, problems in load_suites(spec) if loaded is None else loaded:
        before = _prerequisites(suite, problems)
        prompts = [suite.render(problem, chat=chat) for problem in (*before, *problems)]
        for temperature in spec.temperature or (suite.sampling.temperature,):
            sampling = _sampling(suite.sampling, spec, temperature)
            name = suite.full_name if len(spec.temperature) < 2 else f"{suite.full_name}@t{temperature:g}"
            asked = tuple(
                Question(problem, prompt, _key(suite, problem, prompt, sampling))
                for problem, prompt in zip((*before, *problems), prompts, strict=True)
            )
            first, questions = asked[: len(before)], asked[len(before) :]
            planned.append(PlannedSuite(name, suite, sampling, questions, suite.full_name in counted, first))
    return planned


def _prerequisites(suite: Suite, problems: Sequence[Problem]) -> list[Problem]:
    """Those that these problems follow, and those that they follow themselves, in the suite's order."""
    wanted = {problem.follows for problem in problems} - {None}
    if not wanted:
        return []
    found = list(suite.prerequisites())
    for problem in reversed(found):  # each stands after the one that it follows
        if problem.id in wanted:
            wanted.add(problem.follows)
    return [problem for problem in found if problem.id in wanted]


def offers_tools(planned: Sequence[PlannedSuite]) -> bool:
    """Whether any prompt has tools on offer."""
    return any(question.prompt.tools for suite in planned for question in suite.questions)


def evenly(problems: Any, limit: int | None) -> list[Problem]:
    """At most `limit` problems, spread over the whole: data sets are sorted by subject or difficulty."""
    count = len(problems)
    if limit is None or limit >= count:
        return list(problems)
    return [problems[index * count // limit] for index in range(limit)]


def seed_of(sampling: Sampling, problem: str, sample: int, turn: int = 0) -> int:
    """The seed that one turn of a sample is drawn with: in [0, 2**31), the same wherever it is drawn."""
    later = f"\0{turn}" if turn else ""
    digest = hashlib.sha256(f"{sampling.seed}\0{problem}\0{sample}{later}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def prompt_record(prompt: Prompt) -> dict[str, Any]:
    """The prompt as it is stored and hashed: only what it has."""
    record: dict[str, Any] = {}
    if prompt.text is not None:
        record["text"] = prompt.text
    if prompt.messages:
        record["messages"] = [message_record(message) for message in prompt.messages]
    for name in ("tools", "stop", "choices", "contexts"):
        if getattr(prompt, name):
            record[name] = list(getattr(prompt, name))
    return record


def message_record(message: Message) -> dict[str, Any]:
    """A chat turn as it is stored and hashed."""
    record: dict[str, Any] = {"role": message.role, "content": message.content}
    return record | {"tool_calls": [dict(call) for call in message.tool_calls]} if message.tool_calls else record


def _sampling(default: Sampling, spec: RunSpec, temperature: float) -> Sampling:
    given = {
        name: getattr(spec, name)
        for name in ("samples", "top_p", "top_k", "max_tokens")
        if getattr(spec, name) is not None
    }
    sampling = replace(default, temperature=temperature, seed=spec.seed, **given)
    # Reasoning gets room of its own, so that a suite's limit stays one of the answer.
    return replace(sampling, max_tokens=sampling.max_tokens + (spec.backend.thinking_budget or 0))


def _prompts_sha256(questions: Sequence[Question]) -> str:
    # Sorted: a data set that was merely shuffled asks the same.
    asked = sorted(_canonical([question.problem.id, prompt_record(question.prompt)]) for question in questions)
    return hashlib.sha256(b"\n".join(asked)).hexdigest()


def _key(suite: Suite, problem: Problem, prompt: Prompt, sampling: Sampling) -> str:
    # Not the check: judging anew is what `rescore` is for. Not the number of samples: more can be asked for later.
    drawn = {field: value for field, value in asdict(sampling).items() if field != "samples"}
    asked = [suite.full_name, suite.version, problem.id, prompt_record(prompt), drawn]
    return hashlib.sha256(_canonical(asked)).hexdigest()[:32]


def _canonical(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode("ascii")
