"""What a model wrote, made safe to show: the one place where text becomes fit for a terminal.

A completion may hold escape sequences that repaint the screen, bidirectional marks that reorder a line, or lone
surrogates that no encoder takes. All of them are shown as the escapes a Python programmer would write.
"""

from __future__ import annotations


def printable(text: str, *, keep: str = "\n\t") -> str:
    """`text` with everything that is not a visible character or a space written as an escape.

    Args:
        text: Anything, lone surrogates included.
        keep: Characters let through although they are not printable.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep or _is_space(c) else _escape(c) for c in text)


def one_line(text: str, limit: int | None = None) -> str:
    """`text` on a single line, printable, runs of white space as one space, cut to `limit` characters."""
    line = printable(" ".join(text.split()), keep="")
    return line if limit is None or len(line) <= limit else line[: max(0, limit - 1)] + "…"


def _is_space(char: str) -> bool:
    # str.isprintable calls no-break and ideographic spaces unprintable; they are harmless and common in real answers.
    return char.isspace() and char not in "\r\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029" and ord(char) >= 0xA0


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
