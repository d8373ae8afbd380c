"""A tokenizer of a recipe's own, learnt from what its stages will show the model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from ...chat import SPECIAL_TOKENS, render
from ...post_training.sft import read_conversation
from ...tokenizer import Tokenizer
from ..recipes import PretrainData, Recipe
from .sources import Generator, open_source

RECORDS = 2000
"""Of each source: more of the same teaches a small vocabulary nothing."""


def learn_tokenizer(
    recipe: Recipe, size: int, *, generators: Mapping[str, Generator] | None = None, root: Path = Path()
) -> Tokenizer:
    """Byte-level BPE from the first records of every source of every stage, conversations as the model will see them.

    Args:
        recipe: Whose sources are read.
        size: Entries at most, special tokens and the 256 bytes included.
        generators: As in `open_stream`.
        root: As in `open_stream`.

    Raises:
        DataError: A source is missing, empty or damaged.
    """
    texts: list[str] = []
    for stage in recipe.stages.values():
        for name, spec in stage.data.sources.items():
            source = open_source(name, spec, generators or {}, root)
            for record, _ in islice(source.read({}), RECORDS):
                if isinstance(stage.data, PretrainData):
                    texts.append(str(record.data.get(spec.field, "")))
                else:
                    messages, tools = read_conversation(record)
                    texts.append(render(messages, tools, add_generation_prompt=False))
    marks = re.compile("|".join(map(re.escape, SPECIAL_TOKENS)))
    # The marks are tokens of their own: nothing is to be merged within or across them.
    return Tokenizer.train([part for text in texts for part in marks.split(text) if part], size, SPECIAL_TOKENS)
