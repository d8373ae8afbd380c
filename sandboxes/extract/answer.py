r"""Final answers out of prose: boxes, stated answers, numbers and letters.

What counts, and nothing else does:

* a closed box, ``\boxed{…}`` or ``\fbox{…}`` (also ``\boxed 5``); boxes joined by commas, "and", "or" or blanks are one
  answer with several parts, so that naming two candidates is not the same as naming the right one;
* ``#### 29``, "final answer is …" and "Final answer: …";
* where none of these is there, "answer is …" and "Answer: …".

The last of the strongest sort decides. Where a model has answered and then runs on into the next question of its own
making ("Question:", "Q:", "Problem:" at the start of a line), the rest is cut off first: it is no correction. There is
no fallback to "the last number" or "some capital letter": an answer nobody stated is unparsed, not guessed.

Digits and letters are the ASCII ones; look-alikes of other scripts are other characters.
"""

from __future__ import annotations

import re
from collections import deque
from fractions import Fraction
from typing import NamedTuple

_BRACE = re.compile(r"\\(?:boxed|fbox)[ \t\n]{0,8}\{|\\.|[{}]", re.DOTALL)
_ANY_BOX = re.compile(r"\\(?:boxed|fbox)")
_BARE_BOX = re.compile(r"\\(?:boxed|fbox)[ \t]{1,8}([^\s${}\\]{1,100})")
_BETWEEN_BOXES = re.compile(
    r"[\s$,;.*]*(?:(?:and|or|\\text\{\s*(?:and|or)\s*\}|\\quad|\\\\|\\\)|\\\(|\\\]|\\\[)[\s$,;.*]*){0,3}", re.I
)
_STATED = re.compile(
    # A fourth-level heading is no answer: only a number or a letter alone on the rest of the line is.
    r"####[ \t]{0,8}(?=(?:[-+−$\\€£]{0,3}[0-9][0-9,./]{0,400}\\?%?|[A-Z])\.?[ \t]{0,8}$)"
    r"|(?P<strong>\bfinal\s)?(?:\banswer|\b(?:correct|right|best)\s(?:option|choice|letter))\b"
    r"(?:\s(?:to|for|of|in|here|choice|option|letter)\b[^\n.:=]{0,60}?)?[ \t]{0,3}\*{0,3}[ \t]{0,3}"
    r"(?:\bis\b|\bare\b|:|=)(?:[ \t]{0,3}(?:clearly|thus|therefore|simply|then|also)\b)?[ \t:*]{0,6}",
    re.IGNORECASE | re.MULTILINE,
)
_NEGATED = re.compile(r"(?:incorrect|wrong|not the|previous|initial|first)\s+$", re.IGNORECASE)
_RUN_ON = re.compile(
    r"^[ \t]{0,4}(?:#{1,6}[ \t])?\*{0,2}(?:question|problem|exercise|instruction|user|human|q)"
    r"[ \t]{0,2}\d{0,4}\*{0,2}[ \t]{0,2}:",
    re.IGNORECASE | re.MULTILINE,
)
_PAYLOAD = 1000
"""Characters after a statement that can belong to its answer."""
_STATEMENTS = 100
"""How many stated answers, from the last, are looked at."""


class _Box(NamedTuple):
    start: int
    end: int
    content: str


class _Statement(NamedTuple):
    start: int
    payload: str
    """What follows, at most `_PAYLOAD` characters."""
    strong: bool


def boxes(text: str) -> list[_Box]:
    """Outermost closed boxes with their content, in order."""
    found: list[_Box] = []
    first = _ANY_BOX.search(text)
    if first is None:
        return found
    stack: list[tuple[bool, int, int]] = []
    for token in _BRACE.finditer(text, first.start()):
        mark = token.group()
        if mark == "{":
            stack.append((False, token.start(), token.end()))
        elif mark == "}":
            if not stack:
                continue
            is_box, start, inside = stack.pop()
            if is_box:
                while found and found[-1].start > start:
                    found.pop()
                # Content is cut out at the end: nested boxes would copy the same text once a level.
                found.append(_Box(start, token.end(), str(inside)))
        elif mark[-1] == "{" and len(mark) > 2:
            stack.append((True, token.start(), token.end()))
    closed = [f._replace(content=text[int(f.content) : f.end - 1]) for f in found]
    bare = [_Box(m.start(), m.end(), m.group(1)) for m in _BARE_BOX.finditer(text)]
    return sorted([*closed, *bare]) if bare else closed


def last_boxed(text: str) -> str | None:
    """Content of the last box, or of the last boxes that are joined into one answer; None without a closed box."""
    found = boxes(text)
    return _joined(text, found) if found else None


def without_run_on(text: str) -> str:
    """The text up to the next question that the model invents once it has answered."""
    return _trimmed(text, boxes(text))[0]


def _trimmed(text: str, found: list[_Box], answered_at: int | None = None) -> tuple[str, list[_Box]]:
    """The text without what it ran on to, and the boxes that are left in it."""
    ends = [box.end for box in found[:1]]
    if answered_at is not None:
        ends.append(answered_at)
    if (first := _STATED.search(text)) is not None:
        ends.append(first.end())
    cut = _RUN_ON.search(text, min(ends)) if ends else None
    if cut is None:
        return text, found
    return text[: cut.start()], [box for box in found if box.end <= cut.start()]


def final_answer(text: str) -> str | None:
    """The answer that a completion states, without delimiters, currency signs and final punctuation.

    Args:
        text: The answer part of a completion, reasoning already split off.

    Returns:
        The answer as written (LaTeX or plain), or None where none is stated.
    """
    text, found = _trimmed(text, boxes(text))
    stated = _statements(text)
    strong = [s for s in stated if s.strong]
    if found and (not strong or strong[-1].start < found[-1].start):
        return _clean(_joined(text, found))
    for candidates in (strong, stated):
        for statement in reversed(candidates):
            answer = _payload(statement.payload)
            if answer is not None:
                return answer
    return _clean(_joined(text, found)) if found else None


def number(text: str) -> Fraction | None:
    """The exact value of a plain number: `29`, `-1,234.50`, `$29.00`, `3/4`, `65%` (which is 65), else None."""
    text = text.strip().replace("−", "-")
    if len(text) > 1000:
        return None
    plain = re.fullmatch(
        r"(?P<sign>[-+]?)\s?(?:\\?[$]|[€£¥])?\s?(?P<sign2>[-+]?)(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]*)"
        r"(?P<decimals>\.[0-9]*)?(?:/(?P<below>[0-9]+))?\s?(?:\\?%)?\s?(?:\\?[$]|[€£¥])?\.?",
        text,
    )
    if (
        plain is None
        or (plain["sign"] and plain["sign2"])
        or not re.search("[0-9]", plain["whole"] + (plain["decimals"] or ""))
    ):
        return None
    if plain["below"] is not None and (plain["decimals"] or int(plain["below"]) == 0):
        return None
    digits = plain["whole"].replace(",", "") or "0"
    value = Fraction(int(digits), int(plain["below"] or 1)) + Fraction("0" + (plain["decimals"] or ".0") + "0")
    return -value if "-" in plain["sign"] + plain["sign2"] else value


_LETTER_WORD = r"(?:(?:option|choice|letter|answer)\s)?"
_LETTER = re.compile(
    _LETTER_WORD + r"(?:\\\()?[(\[{*$\"'`]{0,4}(?:\\(?:text|textbf|mathrm|mathbf)\{\(?)?([A-Z])(?![A-Za-z0-9'’])",
    re.ASCII,
)
_AFTER_LETTER = re.compile(
    r"[)\]}*$\"'`]{0,6}(?:\\\))?\s{0,3}(?:$|[.:;!?\-–—]|,|\(|because\b|since\b|as\b|which\b|for\b|$)|[)\]}*]{1,6}\s",
    re.MULTILINE,
)
_OTHER_LETTER = re.compile(
    r"[)\]}*$\"'`.]{0,6}\s{0,3}(?:,|/|&|;|\bor\b|\band\b|\+)\s{0,3}(?:(?:or|and|maybe|possibly)\s)?" + _LETTER.pattern
)
_LONE = re.compile(r"[*(\[]{0,4}([A-Z])[*)\]]{0,4}[.:)]?\*{0,2}", re.ASCII)
_LABEL = re.compile(r"[*(\[]{0,4}([A-Z])(?:[)\]]|[.:](?=\s))", re.ASCII)
_HEDGE = ""


def choice_letter(text: str, choices: int) -> str | None:
    r"""The letter that a completion chooses.

    Taken from, in this order: the last box or stated answer that is a letter (``\boxed{C}``, ``\boxed{\text{C}}``,
    "answer is (C)", "Answer: **C**", "correct option is C", "#### C"); a first line that is nothing but a letter, or
    begins as ``C.`` or ``(C)``; a last line that is nothing but a letter. None where there is none, where the letter
    is not among the choices, and where more than one is named: "A or B", two letters stated on the last line, a list of
    all choices.

    Args:
        text: The answer part of a completion, reasoning already split off.
        choices: How many letters there are, from A on.
    """
    head = re.match(r"\s*([^\n]*)", text)
    opens_with_letter = head is not None and (_LONE.fullmatch(head[1].strip()) or _LABEL.match(head[1]))
    text, found = _trimmed(text, boxes(text), head.end() if head and opens_with_letter else None)
    named: list[tuple[int, str]] = []
    for box in found:
        if (letter := _letter_of(box.content.strip())) is not None:
            named.append((box.start, letter))
    for statement in _statements(text):
        payload = statement.payload.lstrip()
        if "\\boxed" in payload[:40] or "\\fbox" in payload[:40]:
            continue
        if (letter := _letter_of(payload.split("\n", 1)[0])) is not None:
            named.append((statement.start, letter))
    if named:
        named.sort()
        line = text.rfind("\n", 0, named[-1][0]) + 1
        letters = {letter for at, letter in named if at >= line}
        if len(letters) > 1 or (choices > 2 and len({letter for _, letter in named}) >= choices):
            return None
        chosen: str | None = named[-1][1]
    else:
        chosen = _lone_letter(text)
    return chosen if chosen and ord(chosen) - ord("A") < choices else None


def _letter_of(text: str) -> str | None:
    """The letter that a stated answer begins with, `_HEDGE` where it names two, None where it is something else."""
    found = _LETTER.match(text)
    if found is None:
        return None
    tail = text[found.end() : found.end() + 80]
    if _OTHER_LETTER.match(tail):
        return _HEDGE
    return found.group(1) if _AFTER_LETTER.match(tail) else None


def _lone_letter(text: str) -> str | None:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if not lines:
        return None
    alone = [m.group(1) for line in lines if len(line) < 12 and (m := _LONE.fullmatch(line))]
    labels = {m.group(1) for line in lines if (m := _LABEL.match(line))} | set(alone)
    if len(labels) > 1:
        return None
    first = _LONE.fullmatch(lines[0]) or _LABEL.match(lines[0])
    if first is not None:
        others = {m.group(1) for m in re.finditer(r"(?<![A-Za-z])([A-Z])[).:]", lines[0][:2000])} - {first.group(1)}
        return _HEDGE if others or _OTHER_LETTER.match(lines[0][first.end() - 1 :][:80]) else first.group(1)
    last = _LONE.fullmatch(lines[-1])
    return last.group(1) if last else None


def _statements(text: str) -> list[_Statement]:
    """The last stated answers, in order; those that are called wrong are left out."""
    found = deque(_STATED.finditer(text), maxlen=_STATEMENTS)
    return [
        _Statement(
            match.start(),
            text[match.end() : match.end() + _PAYLOAD],
            match.group("strong") is not None or match.group().startswith("####"),
        )
        for match in found
        if not _NEGATED.search(text[max(0, match.start() - 24) : match.start()])
    ]


def _joined(text: str, found: list[_Box]) -> str:
    """The last box, and those before it that only "and", "or", commas and blanks part from it."""
    parts = [found[-1].content]
    later = found[-1]
    for box in reversed(found[:-1]):
        gap = text[box.end : later.start]
        if len(gap) > 60 or not _BETWEEN_BOXES.fullmatch(gap):
            break
        if box.content not in parts:
            parts.append(box.content)
        if len(parts) > 50:
            break
        later = box
    return ", ".join(reversed(parts))


def _payload(text: str) -> str | None:
    """The answer at the head of what follows "answer is"; None where nothing follows, or two answers with "or"."""
    text = text.lstrip(" \t\r\n*")
    for opening, closing in (("$$", "$$"), ("\\[", "\\]")):
        if text.startswith(opening):
            end = text.find(closing, 2)
            return _clean(text[2:end]) if end > 0 else None
    line = text.split("\n", 1)[0]
    spans = _math_spans(line)
    if spans:
        outside = line[: spans[0][0]] + " | " + line[spans[-1][1] :].split(". ")[0]
        if re.search(r"\bor\b", outside) and re.search("[0-9]", outside):
            return None
        return _clean(", ".join(content for _, _, content in spans))
    sentence = re.split(r"\.\s|\.$|!\s|\s\(", line, maxsplit=1)[0]
    counted = re.match(
        r"(?:about |approximately )?([-+−]?\s?(?:\\?[$]|[€£¥])?[0-9][0-9,]*(?:\.[0-9]+)?%?)\s+[A-Za-z]", sentence
    )
    if counted and not re.search("[0-9]", sentence[counted.end() :]):
        return _clean(counted.group(1))
    return _clean(sentence)


def _math_spans(line: str) -> list[tuple[int, int, str]]:
    r"""Inline mathematics of a line: ``$…$`` by pandoc's rule (so that prices are none) and ``\(…\)``."""
    spans = []
    for match in re.finditer(r"(?<!\\)\$(?=[^\s$])([^$\n]*[^\s$\\])\$(?![0-9])|\\\(([^\n]*?)\\\)", line):
        spans.append((match.start(), match.end(), (match.group(1) or match.group(2) or "").strip()))
    return spans


def _clean(text: str) -> str | None:
    if len(text) > 4 * _PAYLOAD:
        return text  # Nobody's answer; and the loop below peels one layer at a time.
    text = re.sub(r"\\(?:boxed|fbox)(?=\s{0,8}\{)", "", text)
    before = None
    while before != text:
        before = text
        text = text.strip(' \t\r\n*`"').rstrip(".,;:!")
        for opening, closing in (("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
            if len(text) > 1 and text.startswith(opening) and text.endswith(closing):
                text = text[len(opening) : -len(closing)]
        if text.startswith("{") and text.endswith("}") and "{" not in text[1:] and len(text) > 1:
            text = text[1:-1]
    text = re.sub(r"^([-+−]?)\s?\\?[$](?=[-+.0-9])", r"\1", text)
    return text or None
