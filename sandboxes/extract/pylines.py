"""Where lines of Python stand: inside a triple-quoted string, inside brackets, or at statement level.

A line scanner instead of `ast`: what is scanned is hostile and often broken, CPython's parser takes super-linear time
(or the whole stack) on some inputs, and an answer that does not parse must be reported by the sandbox, not here.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\"\"\"|'''|[\"'#()\[\]{}\\]")
_TRIPLE_END = {'"""': re.compile(r'\\.|"""', re.DOTALL), "'''": re.compile(r"\\.|'''", re.DOTALL)}
_SINGLE_END = {'"': re.compile(r"\\.|\""), "'": re.compile(r"\\.|'")}


class LineState:
    """What is open at the end of the lines fed so far.

    Attributes:
        quote: The triple quote that is open, or an empty string.
        depth: How many brackets are open.
        continued: Whether the last line ended in a backslash.
    """

    __slots__ = ("continued", "depth", "quote")

    def __init__(self) -> None:
        self.quote = ""
        self.depth = 0
        self.continued = False

    @property
    def at_statement(self) -> bool:
        """Whether the next line begins a statement."""
        return not self.quote and not self.depth and not self.continued

    def feed(self, line: str) -> None:
        """Read one line (without its line break)."""
        self.continued = False
        at = 0
        while True:
            if self.quote:
                at = _end(_TRIPLE_END[self.quote], line, at)
                if at < 0:
                    return
                self.quote = ""
            token = _TOKEN.search(line, at)
            if token is None:
                return
            mark, at = token.group(), token.end()
            if mark == "#":
                return
            if mark == "\\":
                self.continued = at == len(line)
            elif len(mark) == 3:
                self.quote = mark
            elif mark in "\"'":
                at = _end(_SINGLE_END[mark], line, at)
                if at < 0:
                    return  # A plain string ends with its line; a broken one is the candidate's own trouble.
            elif mark in "([{":
                self.depth += 1
            else:
                self.depth = max(0, self.depth - 1)


def _end(pattern: re.Pattern[str], line: str, at: int) -> int:
    """Position after the closing quote, or -1; escaped characters are stepped over."""
    for found in pattern.finditer(line, at):
        if found.group()[0] != "\\":
            return found.end()
    return -1
