"""BFCL v4's format sensitivity (Patil et al.): 200 single-turn tasks, each asked in 26 wordings of the system prompt.

The functions stand in the prompt as JSON, XML or docstrings, and calls are wanted as text in one of four forms, with
tags or without (24 wordings), or with the prompt in Markdown, or in another style. What is measured is how far
accuracies lie apart: `max_delta` and `std` over the 26. It is of models that are asked in words: no tools are offered
beside the prompt. It does not count towards BFCL's score.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

from sandboxes.check import Answer, ToolCallCheck
from sandboxes.extract import split
from sandboxes.verifiers.completion import MAX_CHARACTERS
from sandboxes.verifiers.tool_text import Call, MalformedCall, calls_in
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.sources import read_json, read_jsonl
from suites.suite import Suite
from suites.tools.api_conversation import written
from suites.tools.bfcl import category_problems, plain
from suites.tools.bfcl_package import WHEEL, prompt_texts
from suites.tools.bfcl_sources import ANSWERS, FORMAT_SENSITIVITY, QUESTIONS
from suites.tools.function_documents import as_json, as_python, as_xml
from suites.tools.written_calls import FORMS, read, write

DOCUMENTS = {"python": as_python, "xml": as_xml, "json": as_json}
CATEGORIES = (
    *("simple_python", "parallel", "multiple", "parallel_multiple"),
    *("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple"),
)
# The reference adds this to every description twice: once as the task is read, once as it is asked in a wording.
_HINT = 2 * " Note that the provided function is in Python 3 syntax."
PART = "wording/"


@dataclass(frozen=True, slots=True)
class Wording:
    """One system prompt. The name is the reference's."""

    form: str
    tagged: bool
    documents: str
    layout: str = "plaintext"
    style: str = "classic"

    @property
    def name(self) -> str:
        """As in the reference's ids."""
        return (
            f"ret_fmt={self.form}&tool_call_tag={self.tagged}&func_doc_fmt={self.documents}"
            f"&prompt_fmt={self.layout}&style={self.style}"
        )

    def system(self, functions: Sequence[Mapping[str, Any]]) -> str:
        """The system prompt."""
        texts = prompt_texts()
        style = texts["PROMPT_STYLE_TEMPLATES"][self.style]
        calls = style["tool_call_with_tag" if self.tagged else "tool_call_no_tag"].format(
            output_format=texts["OUTPUT_FORMAT_MAPPING"][self.form], param_types=texts["PARAM_TYPE_MAPPING"][self.form]
        )
        documents = DOCUMENTS[self.documents](functions)
        prompt: str = texts[f"_{self.layout.upper()}_SYSTEM_PROMPT_TEMPLATE"].format(
            persona=style["persona"],
            task=style["task"],
            tool_call_format=calls,
            multiturn_behavior=style["multiturn_behavior"],
            available_tools=style["available_tools"].format(format=self.documents, functions=documents),
        )
        return prompt


WORDINGS = (
    *(Wording(form, tagged, documents) for form in FORMS for tagged in (True, False) for documents in DOCUMENTS),
    Wording("python", False, "json", layout="markdown"),
    Wording("python", False, "json", style="experimental"),
)
_BY_NAME = {wording.name: wording for wording in WORDINGS}


class BfclFormatSensitivity(Suite):
    """All wordings of all tasks."""

    name = "bfcl_format_sensitivity"
    category = "tools"
    version = "1"
    summary = "200 tasks of BFCL v4, each in 26 wordings of the prompt: how far their accuracies lie apart"
    sources = (
        FORMAT_SENSITIVITY,
        *(files[category] for category in CATEGORIES for files in (QUESTIONS, ANSWERS)),
        WHEEL,
    )
    sampling = Sampling(temperature=0.01)

    def problems(self) -> Sequence[Problem]:
        """Ids are BFCL's own; the wordings of a task are not independent."""
        tasks = ((task, wording) for task in _tasks() for wording in WORDINGS)
        return [_worded(number, task, wording) for number, (task, wording) in enumerate(tasks)]

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """The wording's system prompt with what else the task's says, then the conversation; no tools beside it."""
        first, *rest = problem.metadata["turns"]
        system = _BY_NAME[problem.metadata["wording"]].system(problem.metadata["functions"])
        if first["role"] == "system":
            system = f"{system}\n\n{first['content']}"
        else:
            rest = [first, *rest]
        messages = (Message("system", system), *(Message(turn["role"], turn["content"]) for turn in rest))
        if chat:
            return Prompt(messages=messages)
        said = "\n".join(f"{message.role.capitalize()}: {message.content}" for message in messages)
        return Prompt(text=f"{said}\nAssistant:", stop=("\nUser:",))

    def answer(self, problem: Problem, text: str, tool_calls: Sequence[dict[str, Any]] = ()) -> Answer:
        """The calls that stand in the text in the form asked for; none where they stand there in another."""
        said = split(text).answer
        if said is None or len(said) > MAX_CHARACTERS:
            return text  # the verdict says why there is no answer
        wording = _BY_NAME[problem.metadata["wording"]]
        try:
            calls = read(said, wording.form, tagged=wording.tagged)
        except MalformedCall:
            return ""
        return written([Call(plain(call.name), call.arguments) for call in calls])

    def aggregate(self, parts: Mapping[str, Sequence[float]]) -> Mapping[str, tuple[float, float]]:
        """How far the wordings' accuracies lie apart; errors as if the wordings were independent."""
        values = [scores for name, scores in parts.items() if name.startswith(PART)]
        if len(values) < 2:
            return {}
        means = [fmean(scores) for scores in values]
        errors = [math.sqrt(mean * (1 - mean) / len(scores)) for mean, scores in zip(means, values, strict=True)]
        top, bottom = means.index(max(means)), means.index(min(means))
        spread, middle = stdev(means), fmean(means)
        slopes = [(mean - middle) / ((len(means) - 1) * spread) if spread else 0.0 for mean in means]
        return {
            "max_delta": (means[top] - means[bottom], math.hypot(errors[top], errors[bottom])),
            "std": (spread, math.hypot(*(slope * error for slope, error in zip(slopes, errors, strict=True)))),
        }


def _tasks() -> Iterator[Problem]:
    chosen = read_json(FORMAT_SENSITIVITY)
    for category, names in chosen.items():
        wanted = set(names)
        rows = {row["id"]: row["function"] for row in read_jsonl(QUESTIONS[category]) if row["id"] in wanted}
        for problem in category_problems(category):
            if problem.id in wanted:
                functions = [
                    {**function, "description": function["description"] + _HINT} for function in rows[problem.id]
                ]
                yield replace(problem, metadata={**problem.metadata, "functions": functions})


def _worded(number: int, task: Problem, wording: Wording) -> Problem:
    check = task.check
    assert isinstance(check, ToolCallCheck)
    # Names as the prompt has them: a model that is asked in words may write dots.
    dotted = {plain(function["name"]): function["name"] for function in task.metadata["functions"]}
    gold = [Call(dotted[call.name], call.arguments) for call in calls_in(task.gold or "")]
    other = FORMS[(FORMS.index(wording.form) + 2) % len(FORMS)]
    return Problem(
        id=f"format_sensitivity_{number}:{wording.name}:{task.id}",
        ask=task.ask,
        check=check.model_copy(update={"part": PART + wording.name}),
        gold=write(gold, wording.form, tagged=wording.tagged),
        cluster=task.id,
        metadata={**task.metadata, "category": "format_sensitivity", "wording": wording.name},
        wrong=(write(gold, other, tagged=wording.tagged),),
    )
