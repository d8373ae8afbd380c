"""The records of a run directory (contract 4): what is written, read back, and read by `reports`.

`run.json` is a `Manifest`, each line of `generations.jsonl` a `Generation`, each line of `verdicts.jsonl` a
`Judgement`, `scores.json` a `Scores`. Unknown fields are kept out (`extra="forbid"`): an altered file is noticed.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SuiteRecord(_Record):
    """A suite as it was when the run began."""

    name: str
    """Full name, with the variant."""
    category: str
    version: str
    metric: str
    lower_is_better: bool = False
    data: dict[str, str] = Field(default_factory=dict)
    """File → sha256."""
    sampling: dict[str, Any]
    problems: int
    """How many the run takes, after --limit."""
    tokens: int | None = None
    """The length that the suite's prompts and answers were made to, where it has one,"""
    tokens_by: Literal["", "tokenizer", "estimate"] = ""
    """and by whose count of tokens: the model's own, or the suite's estimate."""
    prompts_sha256: str = ""
    """Of all prompts as they are asked, with the problems' ids; before the model's chat template, whose own sum is in
    `Manifest.model`. Empty in runs that are older than this field, as is the next one."""
    first_prompt_sha256: str = ""
    """Of the first problem's prompt, which every --limit takes: tells wordings apart where the numbers differ."""


class Manifest(_Record):
    """`run.json`: everything needed to say what was measured, and to measure it again."""

    format: Literal[1] = 1
    created: str
    """UTC, ISO 8601."""
    command: list[str]
    spec: dict[str, Any]
    """The RunSpec: model, suites, limits, sandbox choice, as given."""
    model: dict[str, Any]
    """Identity: scheme, name, sha256 of weights, parameters (total, active), chat template sha256; as far as known."""
    suites: list[SuiteRecord]
    seeds: dict[str, int]
    sandbox: dict[str, Any]
    """Engine, image digest, runtime sha256, limits."""
    judge: dict[str, Any] = Field(default_factory=dict)
    """The judge model's identity and the versions of the rubrics; empty where rules decided."""
    versions: dict[str, str]
    git: str | None = None
    left_out: list[str] = Field(default_factory=list)
    """Suites that were asked for, and for which something was not at hand: data, or a provider's key."""
    too_long: list[str] = Field(default_factory=list)
    """Suites that were asked for, and whose prompts do not fit the model's context."""
    host: dict[str, Any]
    usage: dict[str, float] = Field(default_factory=dict)
    """Completions, their tokens by kind and what they cost at the prices given; written when the run has ended."""
    rescored: list[dict[str, Any]] = Field(default_factory=list)
    """When, with which versions and in which sandbox the verdicts were made anew, oldest first."""


class Turn(_Record):
    """One turn of the model's in a conversation, and what was said to it then."""

    text: str
    """Raw completion, reasoning included."""
    reasoning: str | None = None
    tool_calls: list[dict[str, Any]] = Field(default_factory=list)
    finish: str
    tokens: dict[str, int] = Field(default_factory=dict)
    latency_s: float = 0.0
    messages: list[dict[str, Any]] = Field(default_factory=list)
    """What the conversation answered: tool results, or what the user said next; none after the last turn."""
    tools: list[dict[str, Any]] | None = None
    """The functions offered from then on, where they changed."""


class Generation(_Record):
    """One completion, or one conversation: then text, calls and finish are its last turn's, counts are of all turns."""

    key: str
    """Content hash of suite, problem and rendered prompt: what resume goes by."""
    suite: str
    problem: str
    sample: int
    prompt: dict[str, Any]
    """The rendered prompt: `messages` or `text`, `tools`, `choices`."""
    text: str
    """Raw completion, reasoning included."""
    reasoning: str | None = None
    """As split off by the server or by the one splitter there is; None where there was none."""
    tool_calls: list[dict[str, Any]] = Field(default_factory=list)
    finish: str
    """stop, length, tool_calls, error."""
    tokens: dict[str, int] = Field(default_factory=dict)
    """prompt, completion, reasoning: as counted by the backend."""
    latency_s: float = 0.0
    loglikelihoods: list[float] = Field(default_factory=list)
    """Of each of the prompt's `choices`, where they were ranked instead of generating."""
    greedy: list[bool] = Field(default_factory=list)
    """Whether each of the choices is what greedy decoding gives, where the model says so."""
    turns: list[Turn] = Field(default_factory=list)
    """The model's turns, where the problem is a conversation."""
    answer: str | list[dict[str, Any]] | None = None
    """What a conversation ended with: this is judged, and judged again by `rescore`."""
    error: str | None = None
    """Why there is no completion (then `finish` is `error`)."""


class Judgement(_Record):
    """The verdict on one completion."""

    key: str
    suite: str
    problem: str
    sample: int
    cluster: str | None = None
    outcome: str
    score: float | None
    tests_passed: int = 0
    tests_total: int = 0
    message: str = ""
    cpu_s: float = 0.0
    wall_s: float = 0.0
    engine: str = "none"
    isolation: str = "none needed"
    parts: dict[str, float] = Field(default_factory=dict)
    evidence: dict[str, Any] = Field(default_factory=dict)


class Metric(_Record):
    """A number with its interval."""

    value: float
    ci95: tuple[float, float]
    stderr: float


class SuiteScores(_Record):
    """One suite's line of `scores.json`."""

    category: str
    n: int
    """Problems with at least one judged sample."""
    metrics: dict[str, Metric]
    outcomes: dict[str, int]
    unparsed_rate: float
    infra_error_rate: float
    tokens: dict[str, float]
    measures: dict[str, Metric] = Field(default_factory=dict)
    """Numbers that are no shares, such as perplexities; left out of the file where no suite has any."""


class OverallScore(_Record):
    """A score over categories of several suites; without a value where some of them were not run."""

    value: float | None = None
    ci95: tuple[float, float] | None = None
    stderr: float | None = None
    missing: list[str] = Field(default_factory=list)
    """Categories that were not run."""


class Scores(_Record):
    """`scores.json`: byte-identical for the same generations."""

    suites: dict[str, SuiteScores]
    partial: bool
    overall: dict[str, OverallScore] = Field(default_factory=dict)
    """Where a run has most of the categories of a score over several suites; left out of the file where it has none."""
