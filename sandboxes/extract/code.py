"""Code out of completions: fenced blocks of chat models, bare code, and what base models continue.

Fences follow CommonMark (three or more backticks or tildes; the closing one is as long, carries no text and is indented
by at most three more), with four departures for what models really write:

* a fence line inside a triple-quoted string that ends before a later fence is part of the docstring;
* a fence with a language inside an open block starts a new one: the first was never closed;
* a block that nothing closes reaches to the end of the text, less a fence that a stop string cut short;
* a closing fence that nothing opened (the opening one was in the prompt) makes a block of the text before it.
"""

from __future__ import annotations

import re
import textwrap
from bisect import bisect_right
from dataclasses import dataclass

from sandboxes.extract.pylines import LineState

_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})([^\n]*)")
_PYTHON = frozenset({"", "python", "py", "python3", "py3", "python2", "ipython", "ipython3", "pycon"})
_CODE_START = re.compile(r"(?:def|class|async\s+def)\s+\w|import\s+\w|from\s+[\w.]+\s+import\b|@\w")
_CODE_LINE = re.compile(
    r"(?:def|class|async\s+def)\s+\w|import\s+\w|from\s+[\w.]+\s+import\b|[@#)\]}]|\"\"\"|'''"
    r"|(?:if|elif|for|while|with|try|else|except|finally|async)\b[^\n]*:|(?:return|pass|raise|assert|global|del)\b"
    r"|[A-Za-z_][\w.]*(?:\[[^\]]*\])?\s*(?:[-+*/%&|^@]|//|\*\*|<<|>>)?=(?!=)|[A-Za-z_]\w*\s*:\s*[A-Za-z]"
    r"|[A-Za-z_][\w.]*\("
)
_HEAD = 200
"""Characters of a line that are looked at to tell code from prose."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        language: First word after the fence, lower case, without decoration; empty where there is none.
        code: Its lines, less the fence's own indentation.
        closed: Whether a closing fence ended it.
    """

    language: str
    code: str
    closed: bool


def fenced_blocks(text: str) -> list[Block]:
    """All fenced blocks, in order."""
    blocks: list[Block] = []
    quotes = {mark: [m.start() for m in re.finditer(mark, text)] for mark in ('"""', "'''")}
    last_bare = _last_bare_fence(text)
    openings = [m.start() for m in re.finditer(r"^[ \t]*(?:`{3,}|~{3,})[ \t]*\w", text, re.MULTILINE)]
    fence: re.Match[str] | None = None
    lines: list[str] = []
    state = LineState()
    at = 0
    for line in text.split("\n"):
        found = _FENCE.fullmatch(line) if "```" in line or "~~~" in line else None
        if found is not None and found.group(2)[0] == "`" and "`" in found.group(3):
            found = None  # Inline code that happens to begin the line.
        if fence is None:
            if found is not None:
                fence, lines, state = found, [], LineState()
        elif found is not None and _ends(found, fence) and not _in_docstring(state, at, quotes, openings, last_bare):
            blocks.append(_block(fence, lines, closed=True))
            fence = None
        elif found is not None and _reopens(found, fence) and not state.quote:
            blocks.append(_block(fence, lines, closed=False))
            fence, lines, state = found, [], LineState()
        else:
            lines.append(line)
            state.feed(line)
        at += len(line) + 1
    if fence is not None:
        while lines and not lines[-1].strip().strip("`~"):
            lines.pop()
        if lines:
            lines[-1] = lines[-1].removesuffix("```")
        blocks.append(_block(fence, lines, closed=False))
    return blocks


def last_fenced_block(text: str, language: str | None = None) -> str | None:
    """Code of the last fenced block, or of the last one in `language` (`python` covers its usual tags, and no tag)."""
    for block in reversed(fenced_blocks(text)):
        if language is None or block.language == language or (language == "python" and block.language in _PYTHON):
            return block.code
    return None


def python_code(text: str, entry_point: str | None = None, prompt: str | None = None) -> str | None:
    """The Python program in a chat model's answer.

    The last fenced Python block that defines the entry point; else the text before a closing fence without opening one;
    else bare code; else, with a prompt, a block that can only be the function's body; else the last Python block.

    Args:
        text: The answer, reasoning already split off.
        entry_point: `f`, or `Solution.f`; without it the last block is taken.
        prompt: A program that ends in the function's head and docstring. Its imports and helpers go before an answer
            that defines the function itself, and the whole of it before an answer that gives only the body.

    Returns:
        Source code, or None where there is none.
    """
    blocks = fenced_blocks(text)
    python = [b.code for b in blocks if b.language in _PYTHON and b.code.strip()]
    if entry_point is None:
        if python:
            return python[-1]
        return blocks[-1].code if blocks else _bare_code(text, None)
    name = entry_point.split(".")[0]
    for code in reversed(python or [b.code for b in blocks]):
        if _defines(code, name):
            return _with_preamble(code, name, prompt)
    head = text[: _first_fence(text)] if blocks else text
    if (bare := _bare_code(head, name)) is not None:
        return _with_preamble(bare, name, prompt)
    body = python[-1] if python else (None if blocks else text)
    if prompt is not None and body is not None and body.strip() and (python or _looks_like_body(body)):
        return _as_body(prompt, body)
    return python[-1] if python else None


def continuation(prompt: str, text: str) -> str:
    """A base model's program: the prompt and what follows, up to the first line that is not part of the function.

    That is the first line at column 0 which neither is blank or a comment, nor stands in a string or in brackets.
    Comments at column 0 are kept where the function goes on after them.
    """
    state = LineState()
    head = prompt.split("\n")
    for line in head[:-1]:
        state.feed(line)
    lines = (head[-1] + text).split("\n")
    kept = 0
    for number, line in enumerate(lines):
        if number and state.at_statement and line.strip() and not line[0].isspace():
            if line[0] != "#":
                break
        elif line.strip():
            kept = number + 1
        state.feed(line)
    return "\n".join([*head[:-1], *lines[:kept]]).rstrip() + "\n"


def _block(fence: re.Match[str], lines: list[str], *, closed: bool) -> Block:
    indent = len(fence.group(1))
    words = fence.group(3).replace("{", " ").replace("}", " ").split()
    language = words[0].lower().lstrip(".").split(":")[0].split(",")[0] if words else ""
    # Only what the fence itself was indented by: the code's own indentation may be meant (a function's body).
    code = "\n".join(line[min(indent, len(line) - len(line.lstrip(" \t"))) :] for line in lines) if indent else None
    return Block(language, "\n".join(lines) if code is None else code, closed)


def _ends(found: re.Match[str], fence: re.Match[str]) -> bool:
    return (
        found.group(2)[0] == fence.group(2)[0]
        and len(found.group(2)) >= len(fence.group(2))
        and not found.group(3).strip()
        and len(found.group(1)) <= len(fence.group(1)) + 3
    )


def _reopens(found: re.Match[str], fence: re.Match[str]) -> bool:
    return (
        found.group(2) == fence.group(2)
        and bool(found.group(3).strip())
        and len(found.group(1)) <= len(fence.group(1))
        and (_block(found, [], closed=False).language in _PYTHON)
    )


def _in_docstring(state: LineState, at: int, quotes: dict[str, list[int]], openings: list[int], last_bare: int) -> bool:
    """Whether the fence line at `at` is in a string that ends, with no new block begun before, ahead of a fence."""
    if not state.quote:
        return False
    ends = quotes[state.quote]
    index = bisect_right(ends, at)
    if index == len(ends) or last_bare < ends[index]:
        return False
    opening = bisect_right(openings, at)
    return opening == len(openings) or openings[opening] > ends[index]


def _last_bare_fence(text: str) -> int:
    last = -1
    for found in re.finditer(r"^[ \t]*(?:`{3,}|~{3,})[ \t]*$", text, re.MULTILINE):
        last = found.start()
    return last


def _first_fence(text: str) -> int:
    found = re.search(r"^[ \t]*(?:`{3,}|~{3,})", text, re.MULTILINE)
    return found.start() if found else len(text)


def _defines(code: str, name: str) -> bool:
    pattern = rf"^(?:(?:async[ \t]+)?def|class)[ \t]+{re.escape(name)}\b|^{re.escape(name)}[ \t]*(?::[^\n=]*)?=(?!=)"
    return re.search(pattern, code, re.MULTILINE) is not None


def _bare_code(text: str, name: str | None) -> str | None:
    """The last stretch of top-level code in a text that has no fences, or None."""
    best: str | None = None
    stretch: list[str] | None = None
    state = LineState()
    for line in [*text.split("\n"), "\0"]:
        if stretch is None:
            if _CODE_START.match(line[:_HEAD]):
                stretch, state = [line], LineState()
                state.feed(line)
            continue
        goes_on = not state.at_statement or not line.strip() or line[0].isspace() or _CODE_LINE.match(line[:_HEAD])
        if goes_on and line != "\0":
            stretch.append(line)
            state.feed(line)
            continue
        code = "\n".join(stretch).rstrip() + "\n"
        if _defines(code, name) if name is not None else re.search(r"^(?:async )?(?:def|class) ", code, re.MULTILINE):
            best = code
        stretch = None
    return best


def _with_preamble(code: str, name: str, prompt: str | None) -> str:
    """Code with the imports and helpers before it that the prompt already gave."""
    if prompt is None or re.search(r"^from __future__ ", code, re.MULTILINE):
        return code
    head = re.search(rf"^(?:async[ \t]+)?def[ \t]+{re.escape(name)}\b|^class[ \t]+{re.escape(name)}\b", prompt, re.M)
    preamble = prompt[: head.start()].strip("\n") if head else ""
    return f"{preamble}\n\n{code}" if preamble.strip() else code


def _looks_like_body(text: str) -> bool:
    first = next((line for line in text.split("\n") if line.strip()), "")
    return first[:1].isspace() or re.match(r"return\b", first) is not None


def _as_body(prompt: str, body: str) -> str:
    first, _, rest = body.strip("\n").partition("\n")
    if not first[:1].isspace() and not first.rstrip().endswith(":") and textwrap.dedent(rest) != rest:
        first = " " * 4 + first  # A tokenizer, or a strip(), took the first line's indentation only.
    lines = textwrap.dedent(f"{first}\n{rest}").strip("\n")
    return prompt.rstrip() + "\n" + textwrap.indent(lines, "    ") + "\n"
