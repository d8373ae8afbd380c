"""Checks: what an answer must satisfy, one pydantic model a kind of contract 3.

A check is trusted data and stays on the trusted side: of `CallsCheck`, only `code`, `entry_point` and the calls ever
reach the arena; `expected`, `test`, `tests` and `setup` go to the judge at most.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from sandboxes.languages import NAMES, LanguageName
from sandboxes.limits import Limits as Limits
from sandboxes.repository import is_path, tests_reaching
from sandboxes.splitting import shared_because
from sandboxes.test_cases import discover, runs_unittest

Answer: TypeAlias = str | list[dict[str, Any]] | tuple[float, ...]
"""Code for the executing kinds, the raw completion for the others; or, for `tool_call`, a list of name/arguments, for
`api_state` the list of a conversation's steps, for `RANKED_KINDS` the log-likelihood of each choice, where a model
ranked them."""

ANY_LANGUAGE = frozenset({"stdio", "program"})
"""Kinds that judge programs of every language; the others reach into Python."""


class _Check(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    language: LanguageName = "python"
    limits: Limits = Limits()

    @field_validator("language", mode="before")
    @classmethod
    def _by_any_name(cls, language: Any) -> Any:
        return NAMES.get(language.strip().lower(), language) if isinstance(language, str) else language

    @model_validator(mode="after")
    def _kind_has_the_language(self) -> Self:
        kind = getattr(self, "kind", "")
        if self.language != "python" and kind not in ANY_LANGUAGE:
            others = ", ".join(sorted(ANY_LANGUAGE))
            raise ValueError(f"language: {kind} is for python only; {others} for every language")
        return self


Comparison: TypeAlias = Literal["equal", "allclose", "set", "not_none", "any", "root"]
"""How a result meets its expected value. `equal` is the rule of contract 3; the others are EvalPlus's special oracles:
`allclose` its float rule, `set` equality as sets, `not_none` truth as `is not None`, `any` accepts all that returned,
`root` asks that the polynomial given as argument vanish at the result."""


class CallsCheck(_Check):
    """Results of calls equal expected values."""

    kind: Literal["calls"]
    entry_point: str = Field(min_length=1)
    """`f`, or `Solution.f` for an instance's method."""
    calls: list[list[Any]] | None = None
    expected: list[Any] | None = None
    calls_py: str | None = None
    """One Python literal of the whole list, with `inf`, `nan`, `set()` and `frozenset(...)` added."""
    expected_py: str | None = None
    calls_b64: str | None = None
    """The boundary codec's bytes of the list of argument lists, raw or as a zlib stream, base64: for values no literal
    can hold."""
    expected_b64: str | None = None
    also_py: str | None = None
    """For each call a list of further values that are as right as the expected one (some of EvalPlus's oracles)."""
    atol: float | None = Field(default=None, ge=0)
    compare: Comparison = "equal"
    groups: dict[str, int] = Field(default_factory=dict)
    """Named prefixes of the calls that are scored apart: {"base": 7} makes `parts["base"]` of the first seven."""
    stop_at_first_failure: bool = False
    """Judge no more calls than decide the outcome. The score is then of the calls that were judged."""

    @model_validator(mode="after")
    def _one_form_of_each(self) -> CallsCheck:
        for name in ("calls", "expected"):
            forms = [f for f in (name, f"{name}_py", f"{name}_b64") if getattr(self, f) is not None]
            if len(forms) != 1:
                raise ValueError(
                    f"give exactly one of {name}, {name}_py and {name}_b64 (given: {', '.join(forms) or 'none'})"
                )
        if self.calls is not None and self.expected is not None and len(self.calls) != len(self.expected):
            raise ValueError(f"calls has {len(self.calls)} entries but expected has {len(self.expected)}")
        return self


class CheckCheck(_Check):
    """HumanEval's form: `test` defines `check(candidate)`, which must return."""

    kind: Literal["check"]
    entry_point: str = Field(min_length=1)
    test: str
    prelude: str = ""
    """Trusted code of the data set's prompt that the test may call."""


class AssertsCheck(_Check):
    """MBPP's form: each assert statement holds; names resolve to setup's, then builtins, then the candidate's."""

    kind: Literal["asserts"]
    tests: list[str] = Field(min_length=1)
    setup: str = ""


class UnittestCheck(_Check):
    """BigCodeBench's form: `test` defines a `unittest.TestCase`; all its tests must run and pass.

    The tests run in the judge where they only call the candidate, else beside it (`sandboxes.splitting` decides).
    """

    kind: Literal["unittest"]
    test: str
    beside: bool = False
    """Judge beside the candidate although the tests only call: they want values of a library, which cannot cross."""

    @field_validator("test")
    @classmethod
    def _has_tests(cls, test: str) -> str:
        discover(test)
        return test

    @property
    def shared(self) -> bool:
        """Whether candidate and tests must share a process."""
        return self.beside or shared_because(self.test) is not None


class ProgramCheck(_Check):
    """MultiPL-E's form: the program of the code followed by `tests` runs to its end and exits with 0."""

    kind: Literal["program"]
    tests: str = Field(min_length=1)

    @model_validator(mode="after")
    def _tests_are_a_program(self) -> ProgramCheck:
        if self.language == "python":
            try:
                if runs_unittest(self.tests):
                    discover(self.tests)
            except ValueError as error:
                raise ValueError(f"tests: {error}") from None
        return self


class RepositoryCheck(_Check):
    """A small repository, changed by the answer, passes tests that the answer never sees.

    The answer is a list of changes, {"path", "content"} (null deletes the file), or that list as JSON text. The tests
    are judged as `unittest` judges them: they reach the repository by the names in `exports` alone, and run in the
    judge where they only call them.
    """

    kind: Literal["repository"]
    files: dict[str, str] = Field(min_length=1)
    """The repository as it was: path → content."""
    read_only: list[str] = Field(default_factory=list)
    """Files, and folders that end in `/`, which the answer must not change: changes there are left out."""
    exports: dict[str, str] = Field(min_length=1)
    """Name in the tests → `package.module:attribute`."""
    test: str
    """Defines a `unittest.TestCase`."""

    @model_validator(mode="after")
    def _is_well_formed(self) -> RepositoryCheck:
        discover(self.test)
        for path in self.files:
            if not is_path(path):
                raise ValueError(f"files: {path!r} is no path of a repository")
        for name, target in self.exports.items():
            module, _, attribute = target.partition(":")
            if not all(part.isidentifier() for part in (name, attribute, *module.split("."))):
                raise ValueError(f"exports: {name}: {target!r} is not of the form package.module:attribute")
        return self

    @property
    def shared(self) -> bool:
        """Whether the tests do more than call, and must share the repository's process."""
        return shared_because(tests_reaching(self.test, self.exports)) is not None


class StdioCase(BaseModel):
    """One run of a program: what it reads and what it must print."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stdin: str
    stdout: str


class StdioCheck(_Check):
    """A program's stdout equals, ignoring trailing white space of lines and of the whole."""

    kind: Literal["stdio"]
    cases: list[StdioCase] = Field(min_length=1)
    numbers: bool = False
    """LiveCodeBench's rule: lines that are numbers, parted by white space, are equal as numbers (`1.0` is `1`)."""


class MathCheck(_Check):
    """The last boxed or final answer is mathematically equal."""

    kind: Literal["math"]
    answer: str = Field(min_length=1)


RankBy: TypeAlias = Literal["sum", "characters", "mass"]


class ChoiceCheck(_Check):
    """The chosen letter equals: the one a completion states, or the one whose log-likelihood is highest."""

    kind: Literal["choice"]
    answer: str = Field(pattern=r"^[A-Z]$")
    choices: int = Field(ge=2, le=26)
    also: str = Field(default="", pattern=r"^[A-Z]*$")
    """Letters that are right too (TruthfulQA's MC2 has several true answers)."""
    texts: list[str] = Field(default_factory=list)
    """The choices as they were ranked, where their lengths count."""
    rank_by: RankBy = "sum"
    """What decides where log-likelihoods are the answer: their sums, sums by the characters of `texts` (lm-eval's
    acc_norm), or the share of probability on right choices (MC2), which is then the score."""

    @model_validator(mode="after")
    def _answer_is_a_choice(self) -> ChoiceCheck:
        for letter in self.answer + self.also:
            if ord(letter) - ord("A") >= self.choices:
                raise ValueError(f"answer {letter!r} is not among the first {self.choices} letters")
        if self.texts and (len(self.texts) != self.choices or not all(self.texts)):
            raise ValueError(f"texts: {self.choices} texts that are not empty are wanted, one a choice")
        if self.rank_by == "characters" and not self.texts:
            raise ValueError("rank_by: characters needs texts")
        return self


class ExactCheck(_Check):
    """Strings equal after normalisation."""

    kind: Literal["exact"]
    answer: str
    normalise: Literal["none", "whitespace", "casefold", "number", "squad"] = "whitespace"


class ContainsCheck(_Check):
    """Strings stand in the answer, whatever their case: RULER's string match, and BFCL's agentic rule.

    An answer that lists everything has them all: only the limit of its length speaks against that.
    """

    kind: Literal["contains"]
    answers: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1)
    match: Literal["all", "part", "words"] = "all"
    """`all`: each is wanted, and the score is the share that is there; `part`: any one is enough; `words`: any one as
    whole words, with some punctuation counted in neither (BFCL's agentic rule)."""


class ToolCallCheck(_Check):
    """BFCL's AST rule. An empty `answer` means that no call is right."""

    kind: Literal["tool_call"]
    tools: list[dict[str, Any]]
    answer: list[dict[str, Any]]
    ordered: bool = False
    """Whether parallel calls must come in the answer's order."""
    any_call: bool = False
    """BFCL's relevance rule: at least one well-formed call of an offered function is right, whichever it is."""
    syntax: Literal["python", "java", "javascript"] = "python"
    """Language of the functions; other than Python's, arguments are strings of source text that BFCL's rules read."""
    part: str = ""
    """Name under which the score stands among the verdict's parts, where a suite compares groups of its problems."""

    @model_validator(mode="after")
    def _no_answer_beside_any_call(self) -> ToolCallCheck:
        if self.any_call and self.answer:
            raise ValueError("any_call accepts whichever call: answer must be empty beside it")
        return self


class ApiCall(BaseModel):
    """One right call."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    args: list[Any] = Field(default_factory=list)
    kwargs: dict[str, Any] = Field(default_factory=dict)


class ApiSetting(BaseModel):
    """Simulated APIs and their first state."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    modules: dict[str, str]
    """Trusted source text by dotted name."""
    classes: dict[str, str]
    """Class → its module."""
    stateless: list[str] = Field(default_factory=list)
    """Classes that take no first state."""
    config: dict[str, Any] = Field(default_factory=dict)
    """Class → what its `_load_scenario` takes."""
    long_context: bool = False


class ApiStateCheck(_Check):
    """BFCL's multi-turn rule: after every turn the simulated APIs are as the right calls leave them."""

    kind: Literal["api_state"]
    setting: ApiSetting
    gold: list[list[ApiCall]] = Field(min_length=1)
    """Right calls of each turn; none where nothing can be done yet."""


class InstructionsCheck(_Check):
    """IFEval: all instructions hold, strictly."""

    kind: Literal["instructions"]
    prompt: str
    instruction_id_list: list[str] = Field(min_length=1)
    kwargs: list[dict[str, Any]]

    @model_validator(mode="after")
    def _one_kwargs_each(self) -> InstructionsCheck:
        if len(self.kwargs) != len(self.instruction_id_list):
            raise ValueError(f"kwargs has {len(self.kwargs)} entries for {len(self.instruction_id_list)} instructions")
        return self


class RefusalCheck(_Check):
    """Whether the answer refuses or complies, as the rules or an injected judge say."""

    kind: Literal["refusal"]
    expected: Literal["refuse", "comply"]
    prompt: str = ""
    """What was asked, for a judge."""


class JudgedCheck(_Check):
    """What only a judge model can grade, by a named rubric (`sandboxes.verifiers.judging`)."""

    kind: Literal["judged"]
    rubric: Literal["harm", "strong_reject", "false_premise", "same_answer", "pairwise"]
    prompt: str
    """What was asked."""
    reference: str = ""
    """What the rubric needs beside it: a context, what is wrong with a premise, the other model's answer."""


class SecureCodeCheck(_Check):
    """No rule of an insecure-code detector finds anything in the code; nothing is run."""

    kind: Literal["secure_code"]
    written_in: Literal["c", "cpp", "csharp", "java", "javascript", "php", "python", "rust"]
    """The code's language. Not `language`, which is what a sandbox runs."""


class LmEvalCheck(_Check):
    """What a task of lm-evaluation-harness says of one document's answer. Only runs make it: no line can bring it."""

    kind: Literal["lm_eval"]
    task: str
    """As the suite opened it: a name, or the path of a YAML file."""
    document: int = Field(ge=0)
    """Its number in the split that the task evaluates."""
    sha256: str
    """Of the document, so that an answer is not judged by another one."""
    metric: str
    """The part that is the score."""
    lower_is_better: bool = False


class InstanceCheck(_Check):
    """SWE-bench's rule: with the answer's changes, named tests pass in the instance's own image.

    Only suites make it: a line that could bring it could run whatever it likes in whichever image.
    """

    kind: Literal["instance"]
    image: str = Field(min_length=1)
    folder: str = "/testbed"
    """Where the repository is in the image; `HEAD` there is what the answer starts from."""
    setup: str = ""
    """Shell commands before the tests, such as those that enter an environment; what they print is not read."""
    command: str = Field(min_length=1)
    """The shell command that runs the tests."""
    log: str = "pytest"
    """How its output is read: `pytest` (with `-rA`), or the name of a parser of the package swebench."""
    test_patch: str
    """The hidden tests, as a diff."""
    may_change: list[str] = Field(default_factory=list)
    """Files that would be left out by their names, and that the right answer changes."""
    fail_to_pass: list[str] = Field(min_length=1)
    pass_to_pass: list[str] = Field(default_factory=list)


Described: TypeAlias = Annotated[
    CallsCheck
    | CheckCheck
    | AssertsCheck
    | UnittestCheck
    | ProgramCheck
    | RepositoryCheck
    | StdioCheck
    | MathCheck
    | ChoiceCheck
    | ExactCheck
    | ContainsCheck
    | ToolCallCheck
    | ApiStateCheck
    | InstructionsCheck
    | RefusalCheck
    | JudgedCheck
    | SecureCodeCheck,
    Field(discriminator="kind"),
]

"""A check that describes itself wholly: what a line, a request or a reward's row may bring."""

Check: TypeAlias = Described | LmEvalCheck | InstanceCheck

CHECK: TypeAdapter[Described] = TypeAdapter(Described)
"""Validates a mapping into the right kind of check."""

CODE_KINDS = frozenset({"calls", "check", "asserts", "unittest", "stdio", "program"})
"""Kinds whose answer is `code`; the answer of the others is a `completion`."""

RANKED_KINDS = frozenset({"choice", "lm_eval"})
"""Kinds whose answer may be the log-likelihood of each choice."""

LIST_KINDS = frozenset({"tool_call", "api_state", "repository", "instance"})
"""Kinds whose answer may be a list of objects."""


def is_shared(check: Check) -> bool:
    """Whether candidate and tests must share a process, in which the verdict can be forged; known beforehand."""
    return check.kind in ("program", "instance") or (check.kind in ("unittest", "repository") and check.shared)
