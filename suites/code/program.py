"""The program in a completion, for suites whose checks judge code."""

from __future__ import annotations

from sandboxes.extract import python_code, split


def program_of(text: str, entry_point: str, prompt: str | None = None) -> str:
    """Source code out of a completion, reasoning left out; empty where there is none, which no check passes.

    Args:
        text: The raw completion.
        entry_point: The function it must define.
        prompt: A program ending in the function's head, for answers that only continue it.
    """
    answer = split(text).answer
    return "" if answer is None else python_code(answer, entry_point, prompt) or ""
