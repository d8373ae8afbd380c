"""Hostile text on its way into a file: each form of output has its own dangers, and each its one function here.

What cannot be seen (control characters, bidirectional marks, lone surrogates) is written as an escape by `printable`,
the same function that guards the terminal; the functions here add what HTML's script data, Markdown, LaTeX and CSV
need. HTML itself is escaped by the template engine.
"""

from __future__ import annotations

import json
import re
from typing import Any

from mellum_eval.terminal import one_line, printable

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-!|~$^=\"'.>])")
_SCRIPT = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})
# Full-width forms too: some spreadsheets fold them to ASCII before they look for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "＝", "＋", "－", "＠")


def clip(text: str, limit: int) -> str:
    """`text` with its middle left out where it is longer than `limit` characters, saying how much is missing."""
    if len(text) <= limit:
        return text
    head, tail = limit * 2 // 3, limit // 3
    return f"{text[:head]}\n… {len(text) - head - tail:,} characters left out …\n{text[-tail:]}"


def markdown(text: str, limit: int = 200) -> str:
    """`text` on one line of Markdown, where it means nothing but itself: no markup, HTML, link, mention or cell end."""
    line = one_line(text, limit)
    line = _MARKDOWN.sub(r"\\\1", line)
    # A backslash does not stop HTML or a bare address from becoming a link: these need entities.
    return line.replace("&", "&amp;").replace("<", "&lt;").replace("@", "&#64;").replace(":", "&#58;")


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "-": "{-}",
    **{mark: f"\\{mark}" for mark in "{}$&#_%"},
}


def latex(text: str, limit: int = 200) -> str:
    """`text` on one line of LaTeX, where it means nothing but itself: no command, cell end, comment or ligature."""
    return "".join(_LATEX.get(character, character) for character in one_line(text, limit))


def csv_cell(value: Any) -> Any:
    """A CSV cell that no spreadsheet takes for a formula; numbers stay numbers.

    Source: OWASP's "CSV injection": an apostrophe in front of anything that starts like a formula.
    """
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = one_line(str(value))
    return f"'{text}" if text.lstrip(" '\"").startswith(_FORMULA) else text


def script_json(value: Any) -> str:
    """JSON for a `<script type="application/json">`: no string in it can end the script or start a comment."""
    return json.dumps(visible(value), ensure_ascii=True, separators=(",", ":")).translate(_SCRIPT)


def visible(value: Any) -> Any:
    """JSON data with every string in it made printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(str(k)): visible(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [visible(v) for v in value]
    return value
