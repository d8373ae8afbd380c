"""Requests of the engine: what is told of them, and where each one stands."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from torch import Tensor

from .sampling import Sampling
from .text import TextStream

Finish = Literal["stop", "length"]


class TextCodec(Protocol):
    """What the engine needs of a tokenizer."""

    def encode(self, text: str) -> list[int]:
        """Ids of a text, special tokens in it recognised."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, special tokens written out."""
        ...


@dataclass(slots=True)
class Generated:
    """What came of one request."""

    tokens: list[int]
    """New tokens, the one that ended generation included."""
    finish: Finish = "length"
    text: str | None = None
    """Without the end token or stop string; None where there is no tokenizer."""
    prompt_tokens: int = 0
    logprobs: list[float] | None = field(default=None, compare=False)
    top_logprobs: list[dict[int, float]] | None = field(default=None, compare=False)
    drafted: int = field(default=0, compare=False)
    """Tokens that the MTP head proposed."""
    accepted: int = field(default=0, compare=False)
    """Of these, the ones that stood."""


@dataclass(frozen=True, slots=True)
class Delta:
    """News of one request."""

    index: int
    """As `submit` numbered it."""
    tokens: list[int]
    text: str
    """What can be shown by now: incomplete characters and possible beginnings of stop strings are held back."""
    result: Generated | None = None
    """Set on the last one."""


@dataclass(frozen=True, slots=True)
class ThinkTags:
    """Ids that open and close reasoning."""

    begin: int
    end: int


@dataclass(slots=True, eq=False)
class Row:
    """A request that waits or is decoded."""

    index: int
    prompt: list[int]
    sampling: Sampling
    rng: random.Random
    limit: int
    out: Generated
    text: TextStream | None
    ends: frozenset[int]
    thinking: bool
    """Whether a `<think>` is open."""
    thought: int
    """Tokens within `<think>` so far; opening it again does not start the count anew."""
    only_best: bool
    """Whether nothing but the most probable tokens is asked for."""
    position: int = 0
    """Tokens in the cache: where the next one goes."""
    states: Tensor | None = None
    """[1, D] the trunk's state of the prompt's last token."""
    follow: list[int] = field(default_factory=list)
    """The newest tokens: the last is not in the cache yet, and none has been read by the MTP head."""
    done: bool = False


def think_tags(tokenizer: TextCodec | None) -> ThinkTags | None:
    """Ids of `<think>` and `</think>`, if the tokenizer has each as one token."""
    if tokenizer is None:
        return None
    begin, end = tokenizer.encode("<think>"), tokenizer.encode("</think>")
    return ThinkTags(begin[0], end[0]) if len(begin) == len(end) == 1 else None
