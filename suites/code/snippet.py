"""Programs in other languages than Python out of completions.

A block with the whole function, one with only its body, or what a base model continues.
"""

from __future__ import annotations

import re

from sandboxes.extract import fenced_blocks, split
from sandboxes.joined.text import bare
from sandboxes.languages import named

_DEFINITION = {
    "cpp": r"[\w>\]&*][\s&*]+NAME\s*\([^;{}]*\)[^;{}()]*\{",
    "java": r"[\w>\]]\s+NAME\s*\([^;{}]*\)[^;{}()]*\{",
    "csharp": r"[\w>\]?]\s+NAME\s*\([^;{}]*\)[^;{}()]*(?:\{|=>)",
    "javascript": r"\bfunction\*?\s+NAME\b|\bNAME\s*=(?!=)",
    "typescript": r"\bfunction\*?\s+NAME\b|\bNAME\s*(?::[^=\n]*)?=(?!=)",
    "go": r"\bfunc\s+NAME\s*[(\[]",
    "rust": r"\bfn\s+NAME\b",
    "php": r"\bfunction\s+&?NAME\s*\(",
    "bash": r"(?m)^\s*(?:function\s+NAME\b|NAME\s*\(\s*\))",
}
_IMPORTS = {
    "cpp": r"(?m)^[ \t]*(?:#[ \t]*include\b.*|using namespace .*;)$",
    "java": r"(?m)^[ \t]*import\b.*;",
    "csharp": r"(?m)^[ \t]*using\s+[\w.]+\s*;",
    "go": r"(?m)^import\s*(?:\([^)]*\)|.*\"[^\n]*)",
    "rust": r"(?m)^[ \t]*use\b[^;]*;",
}
"""What a prompt brings into scope, and an answer that repeats the function may leave out."""
_CLASS = re.compile(r"\bclass\s+(\w+)\s*\{")
_UNINDENTED_END = frozenset({"cpp", "rust", "go", "javascript", "typescript", "php", "bash"})


def program_in(text: str, language: str, prompt: str, entry_point: str) -> str:
    """The program in a raw completion, reasoning left out; empty where there is none, which no check passes.

    Args:
        text: The completion of a chat model (fenced blocks) or of a base model (the prompt's continuation).
        language: As checks name it.
        prompt: A program that ends in the function's head.
        entry_point: The function.
    """
    answer = split(text).answer
    if answer is None or not answer.strip():
        return ""
    tongue = named(language)
    tags = {tongue.name, *tongue.aliases, ""}
    blocks = [block.code for block in fenced_blocks(answer) if block.code.strip()]
    tagged = [block.code for block in fenced_blocks(answer) if block.language in tags and block.code.strip()]
    for code in reversed(tagged or blocks):
        if defines(code, tongue.name, entry_point):
            return _whole(code, tongue.name, prompt, entry_point)
    if tagged or blocks:
        return continued(prompt, "\n" + (tagged or blocks)[-1], tongue.name)
    if defines(answer, tongue.name, entry_point):
        return _whole(answer, tongue.name, prompt, entry_point)
    return continued(prompt, answer, tongue.name)


def defines(code: str, language: str, name: str) -> bool:
    """Whether the function is defined there, not only called or declared."""
    return re.search(_DEFINITION[language].replace("NAME", re.escape(name)), bare(code)) is not None


def continued(prompt: str, text: str, language: str) -> str:
    """The prompt and what follows, to the brace that closes the function; all of it where none does."""
    head = prompt.rstrip()
    if language == "bash":
        end = re.search(r"^\}", text, re.MULTILINE)
        return f"{head}\n{text[: end.end()] if end else text}\n"
    # In the prompt's class, if it opens one: the function ends one brace before that.
    inside = 1 if _CLASS.search(bare(head)) and language in ("java", "csharp") else 0
    shown = bare(text)
    level = max(1, bare(head).count("{") - bare(head).count("}"))
    for place, character in enumerate(shown):
        level += (character == "{") - (character == "}")
        if level == inside and character == "}":
            return head + ("\n" if text[:1] != "\n" else "") + text[: place + 1] + "\n}" * inside + "\n"
    return f"{head}\n{text}\n"


def _whole(code: str, language: str, prompt: str, entry_point: str) -> str:
    """The answer's own program, with what the prompt gave and the answer left out."""
    if language == "cpp":
        code = re.split(r"(?m)^(?:int|auto|signed|void)\s+main\s*\(", code)[0]
    elif language == "java":
        code = re.sub(r"public class Main\s*\{\s*\}", "", code)
    if language in ("java", "csharp") and _CLASS.search(bare(code)) is None:
        held = _CLASS.search(prompt)
        code = f"class {held[1] if held else 'Solution'} {{\n{code}\n}}\n"
    missing = [found for found in _imports(prompt, language) if found.strip() not in code]
    if language == "rust" and missing:
        # By a glob, which the answer's own imports of the same names come before.
        uses = "".join(f"pub {found.strip()} " for found in missing)
        missing = [
            f"#[allow(unused_imports)] mod from_prompt {{ {uses}}} #[allow(unused_imports)] use self::from_prompt::*;"
        ]
    elif language == "go":
        missing = [] if "package " in code and not missing else missing
    helpers = _helpers(code, language, prompt, entry_point)
    head = "".join(f"{line.strip()}\n" for line in missing)
    if language == "go":
        package = re.search(r"(?m)^package\s+\w+", code)
        code = code.replace(package[0], "", 1) if package else code
        return f"package main\n{head}{code}\n{helpers}"
    return f"{head}{helpers}{code}\n"


def _imports(prompt: str, language: str) -> list[str]:
    pattern = _IMPORTS.get(language)
    return [found[0] for found in re.finditer(pattern, prompt)] if pattern else []


def _helpers(code: str, language: str, prompt: str, entry_point: str) -> str:
    """Functions that the prompt defines whole before the one it asks for, where the answer does not repeat them."""
    if language in ("java", "csharp"):
        return ""
    text, level, start = bare(prompt), 0, 0
    for spelled in _imports(prompt, language):  # Go's may have brackets as a function's head has
        text = text.replace(bare(spelled), " " * len(spelled))
    found = []
    for place, character in enumerate(text):
        if character == "{":
            level += 1
        elif character == "}":
            level -= 1
            if level == 0:
                found.append((start, place + 1))
        elif character in ";\n" and level == 0 and not text[start:place].strip():
            start = place + 1
        if level == 0 and character in ";}":
            start = place + 1
    kept = []
    for first, last in found:
        piece = prompt[first:last]
        name = re.findall(r"(\w+)\s*(?:=\s*)?\([^{}]*\)[^{}()]*\{", bare(piece))
        if name and name[0] not in (entry_point, "main") and not defines(code, language, name[0]):
            kept.append(piece.strip() + "\n")
    return "".join(kept)
