"""The anchor's side of `inspect_overhead`: runs inside the pinned inspect_ai environment, by `inspect eval`.

A multiple-choice task over the questions of a JSON file, and a mock model that gives the right letter of each.
"""

from __future__ import annotations

import json

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessage, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import choice
from inspect_ai.solver import multiple_choice


@task
def questions(file: str) -> Task:
    """The file's rows: id, question, choices, answer (a letter)."""
    with open(file, encoding="utf-8") as source:
        rows = json.load(source)
    letters = {row["question"]: row["answer"] for row in rows}

    def answer(messages: list[ChatMessage], *given: object) -> ModelOutput:
        # Its prompt puts the question on lines of their own, between instructions and choices.
        question = messages[-1].text.split("\n\n", 1)[1].split("\n\nA) ", 1)[0]
        output = ModelOutput.from_content("mockllm/model", f"ANSWER: {letters[question]}")
        output.usage = ModelUsage()  # else it counts tokens, with a tokenizer that it fetches from the network
        return output

    return Task(
        dataset=MemoryDataset(
            [Sample(input=row["question"], choices=row["choices"], target=row["answer"], id=row["id"]) for row in rows]
        ),
        solver=multiple_choice(),
        scorer=choice(),
        model=get_model("mockllm/model", custom_outputs=answer),
    )
