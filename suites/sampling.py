"""How completions are drawn: a suite's default, overridden from the command line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sampling:
    """Parameters of generation.

    Attributes:
        temperature: 0 is greedy.
        top_p: Nucleus; 1 keeps all.
        top_k: 0 keeps all.
        max_tokens: New tokens at most, reasoning included.
        samples: Completions a problem.
        seed: Sample i of a problem draws with a seed derived from this, the problem's id and i.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 1024
    samples: int = 1
    seed: int = 0
