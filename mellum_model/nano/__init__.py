"""The bundled model: a Mellum 2 of 1.9 M parameters, trained by the recipe `nano`. Paths only; nothing is loaded."""

from __future__ import annotations

from pathlib import Path

VARIANTS = ("instruct", "base", "thinking", "instruct-sft", "thinking-sft")
"""The first is meant where none is named. The last two are Instruct and Thinking before reinforcement learning."""
NAMES = ", ".join(("nano", *(f"nano:{variant}" for variant in VARIANTS[1:-1]))) + f" and nano:{VARIANTS[-1]}"


def checkpoint(variant: str = "") -> Path:
    """Directory of a bundled checkpoint.

    Raises:
        ValueError: No such variant.
    """
    name = variant or VARIANTS[0]
    if name not in VARIANTS:
        raise ValueError(f"nano:{variant}: the bundled models are {NAMES}")
    return Path(__file__).parent / name
