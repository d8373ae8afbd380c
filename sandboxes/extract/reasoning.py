"""Reasoning apart from the answer, by `<think>` tags.

The rules, in the order in which they are applied while reading from the left:

* A tag with the same quote character (`'`, `"` or a backtick) on both sides is a mention, not a tag.
* Inside reasoning the first `</think>` ends it, whatever stands around it: an unclosed code fence in somebody's
  scratch work must not swallow the end of it. Tags do not nest.
* In the answer, a `<think>` inside a code fence that is closed later is code, and so is the `</think>` that belongs to
  it in the same fence: programs about these tags are written too.
* In the answer, a `</think>` that nothing opened means that the chat template opened it in the prompt: all text before
  it is reasoning.
* Reasoning that is never closed is no answer, even if text that looked like one stood before it: the model was cut off
  while thinking, and the last thing it concluded is not known.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

_TAG = re.compile(r"</?think>")
_QUOTES = frozenset("'\"`")
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Split:
    """A completion in two.

    Attributes:
        reasoning: What was thought, tags removed; several blocks are joined by a blank line.
        answer: The rest; None where reasoning was never closed.
    """

    reasoning: str
    answer: str | None


def split(text: str, reasoning: str | None = None) -> Split:
    """Split a completion.

    Args:
        text: The completion's text.
        reasoning: Reasoning that a server has already given apart; it comes before what is found in `text`.
    """
    thoughts = [reasoning] if reasoning else []
    answers: list[str] = []
    inside = False
    start = 0
    skip_to = 0
    fences = _Fences(text)
    for tag in _tags(text):
        if tag.start() < skip_to:
            continue
        opening = tag.group() == "<think>"
        if inside:
            if opening:
                continue
            thoughts.append(text[start : tag.start()].strip())
            inside = False
        elif opening:
            fence_end = fences.end_around(tag.start())
            if fence_end is not None:
                partner = text.find("</think>", tag.end(), fence_end)
                skip_to = partner + 1 if partner >= 0 else fence_end
                continue
            answers.append(text[start : tag.start()])
            inside = True
        else:
            thoughts.append(("".join(answers) + text[start : tag.start()]).strip())
            answers.clear()
        start = tag.end()
        if not inside:
            fences.restart(start)
    if inside:
        thoughts.append(text[start:].strip())
        return Split("\n\n".join(t for t in thoughts if t), None)
    answers.append(text[start:])
    return Split("\n\n".join(t for t in thoughts if t), "".join(answers))


def _tags(text: str) -> Iterator[re.Match[str]]:
    for tag in _TAG.finditer(text):
        before = text[tag.start() - 1 : tag.start()] if tag.start() else ""
        if before in _QUOTES and text[tag.end() : tag.end() + 1] == before:
            continue
        yield tag


class _Fences:
    """Closed code fences of the answer's current stretch, found in one pass over the text."""

    def __init__(self, text: str) -> None:
        self._lines = [(m.start(), m.group(1)[0], not m.group(2).strip()) for m in _FENCE.finditer(text)]
        self._closers = {mark: [at for at, m, bare in self._lines if bare and m == mark] for mark in "`~"}
        self._next = 0
        self._open: str | None = None

    def restart(self, start: int) -> None:
        """Forget what was open: a new stretch of answer begins at `start`."""
        self._open = None
        while self._next < len(self._lines) and self._lines[self._next][0] < start:
            self._next += 1

    def end_around(self, at: int) -> int | None:
        """Where the closed fence around `at` ends; None outside of fences. Positions must not decrease."""
        while self._next < len(self._lines) and self._lines[self._next][0] < at:
            _, mark, bare = self._lines[self._next]
            if self._open is None:
                self._open = mark
            elif bare and mark == self._open:
                self._open = None
            self._next += 1
        if self._open is None:
            return None
        closers = self._closers[self._open]
        found = bisect_right(closers, at)
        return closers[found] if found < len(closers) else None
