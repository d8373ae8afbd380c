"""What is read out of sources in curly-brace languages, without parsing them: names, open braces, imports."""

from __future__ import annotations

import hashlib
import re

_LITERALS = re.compile(
    r"""//[^\n]*|/\*.*?(?:\*/|\Z)|\"\"\".*?\"\"\"|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])'|`[^`]*`""", re.DOTALL
)
_NAME = re.compile(r"[^\W\d]\w*")
_LEADING = re.compile(r"\s*(?:\}\s*)+")


def tag(language: str, code: str, tests: str) -> str:
    """A name for what is ours in a program, the same for the same program, so that its build can be kept.

    Code that spells it would have to contain its own hash.
    """
    digest = hashlib.sha256("\0".join((language, code, tests)).encode("utf-8", "surrogatepass"))
    return f"mellum_{digest.hexdigest()[:20]}"


def bare(source: str) -> str:
    """The source with comments and literals blanked out, as far as curly-brace languages agree on them."""
    return _LITERALS.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), source)


def names(source: str) -> list[str]:
    """Identifiers and keywords outside comments and literals, each once, in order."""
    return list(dict.fromkeys(_NAME.findall(bare(source))))


def called(source: str) -> list[str]:
    """Names that are called unqualified."""
    return list(dict.fromkeys(re.findall(r"(?<![\w.])([^\W\d]\w*)\s*\(", bare(source))))


def depth(source: str) -> int:
    """How many braces are open at the end."""
    text = bare(source)
    return text.count("{") - text.count("}")


def closed(code: str, tests: str) -> tuple[str, str]:
    """Move the braces with which MultiPL-E's tests close the answer from the tests to the answer.

    An answer that was cut at its stop token lacks them; one that has closed its braces gets none.
    """
    leading = _LEADING.match(tests)
    if leading is None:
        return code, tests
    return code + "\n" + "}\n" * max(0, depth(code)), tests[leading.end() :]


def replace_names(source: str, prefix: str, wanted: list[str]) -> str:
    """Put a prefix before unqualified calls of these names, leaving comments and literals alone."""
    if not wanted:
        return source
    calls = re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, wanted))})(?=\s*\()")
    text = bare(source)
    pieces, at = [], 0
    for found in calls.finditer(text):
        pieces += [source[at : found.start()], prefix]
        at = found.start()
    return "".join([*pieces, source[at:]])
