"""Checkpoint directories rewritten in another layout or dtype."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from .checkpoint import Layout, save
from .errors import CheckpointError
from .model import Mellum

SIDE_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
)


def convert(source: str | Path, target: str | Path, *, to: Layout, dtype: torch.dtype | str | None = None) -> Mellum:
    """Rewrite a checkpoint in the other layout or dtype; tokenizer and template files go along.

    Raises:
        CheckpointError: The source is bad, or source and target are one directory.
    """
    source, target = Path(source), Path(target)
    if source.resolve() == target.resolve():
        raise CheckpointError(f"{target}: source and target are the same directory")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        model = Mellum.from_pretrained(source, dtype=dtype)
    save(model, target, layout=to)
    for name in SIDE_FILES:
        if (source / name).is_file():
            (target / name).write_bytes((source / name).read_bytes())
    return model
