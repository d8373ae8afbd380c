"""IFEval's 25 instruction types (Zhou et al., 2023): one function each, in one registry.

A rule gets the response and its keyword arguments and says whether the response follows. The reference is the authors'
`instructions.py`, as lm-eval 0.4.13 ships it; the same verdicts on the same text, except where noted at the rule:
`length_constraints:number_sentences` (a splitter of our own: `text_units`), `keywords:letter_frequency` (signs that are
no letters are counted; the reference draws a random letter in their place), and language detection (seeded here; and a
text whose language cannot be told, such as `...`, follows no language rule, where the reference credits it).
Each is linear in the response's length, which several of the reference's regular expressions are not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from sandboxes.verifiers.text_units import capital_words, language_of, sentences

Rule = Callable[[str, Mapping[str, Any]], bool]

CONSTRAINED: Final = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
RULES: Final[dict[str, Rule]] = {}


def _rule(name: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        RULES[name] = rule
        return rule

    return register


def _compare(count: int, relation: str, threshold: int) -> bool:
    """IFEval's two relations.

    Raises:
        ValueError: It is neither.
    """
    if relation == "less than":
        return count < threshold
    if relation == "at least":
        return count >= threshold
    raise ValueError(f"relation must be 'less than' or 'at least', not {relation!r}")


# -- keywords ---------------------------------------------------------------------------------------------------------


@_rule("keywords:existence")
def _existence(text: str, k: Mapping[str, Any]) -> bool:
    return all(re.search(keyword, text, re.IGNORECASE) for keyword in k["keywords"])


@_rule("keywords:frequency")
def _frequency(text: str, k: Mapping[str, Any]) -> bool:
    count = len(re.findall(k["keyword"].strip(), text, re.IGNORECASE))
    return _compare(count, k["relation"], k["frequency"])


@_rule("keywords:forbidden_words")
def _forbidden(text: str, k: Mapping[str, Any]) -> bool:
    return not any(re.search(rf"\b{word}\b", text, re.IGNORECASE) for word in k["forbidden_words"])


@_rule("keywords:letter_frequency")
def _letters(text: str, k: Mapping[str, Any]) -> bool:
    return _compare(text.lower().count(k["letter"].strip().lower()), k["let_relation"], k["let_frequency"])


# -- language and case ------------------------------------------------------------------------------------------------


@_rule("language:response_language")
def _language(text: str, k: Mapping[str, Any]) -> bool:
    return language_of(text) == str(k["language"])


@_rule("change_case:english_capital")
def _english_capital(text: str, k: Mapping[str, Any]) -> bool:
    return text.isupper() and language_of(text) == "en"


@_rule("change_case:english_lowercase")
def _english_lowercase(text: str, k: Mapping[str, Any]) -> bool:
    return text.islower() and language_of(text) == "en"


@_rule("change_case:capital_word_frequency")
def _capital_words(text: str, k: Mapping[str, Any]) -> bool:
    return _compare(capital_words(text), k["capital_relation"], k["capital_frequency"])


# -- length -----------------------------------------------------------------------------------------------------------


@_rule("length_constraints:number_words")
def _words(text: str, k: Mapping[str, Any]) -> bool:
    return _compare(len(re.findall(r"\w+", text)), k["relation"], k["num_words"])


@_rule("length_constraints:number_sentences")
def _sentences(text: str, k: Mapping[str, Any]) -> bool:
    return _compare(sentences(text), k["relation"], k["num_sentences"])


@_rule("length_constraints:number_paragraphs")
def _paragraphs(text: str, k: Mapping[str, Any]) -> bool:
    """Parted by `***`; an empty one may only be the first or the last."""
    parts = [part.strip() for part in text.split("***")]
    if not all(parts[1:-1]):
        return False
    ends = parts[:1] if len(parts) == 1 else [parts[0], parts[-1]]
    return len(parts) - sum(not end for end in ends) == int(k["num_paragraphs"])


@_rule("length_constraints:nth_paragraph_first_word")
def _first_word(text: str, k: Mapping[str, Any]) -> bool:
    """Parted by an empty line. The n-th is counted with the blank ones, their number without: so the reference does."""
    parts = text.split("\n\n")
    filled = sum(bool(part.strip()) for part in parts)
    nth = k["nth_paragraph"]
    if nth > filled or not parts[nth - 1].strip():
        return False
    word = parts[nth - 1].split()[0].lstrip("'").lstrip('"')
    first = re.split(r"[.,?!'\"]", word, maxsplit=1)[0].lower()
    return filled == int(k["num_paragraphs"]) and first == str(k["first_word"]).lower()


# -- content and format -----------------------------------------------------------------------------------------------


@_rule("detectable_content:number_placeholders")
def _placeholders(text: str, k: Mapping[str, Any]) -> bool:
    count = 0
    for line in text.split("\n"):
        at = 0
        while (start := line.find("[", at)) >= 0 and (end := line.find("]", start)) >= 0:
            count += 1
            at = end + 1
    return count >= int(k["num_placeholders"])


@_rule("detectable_content:postscript")
def _postscript(text: str, k: Mapping[str, Any]) -> bool:
    marker = k["postscript_marker"].strip()
    known = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    return re.search(known.get(marker, marker.lower()), text.lower()) is not None


@_rule("detectable_format:number_bullet_lists")
def _bullets(text: str, k: Mapping[str, Any]) -> bool:
    """Lines that begin with `-`, or with one `*`."""
    lines = [line.lstrip() for line in text.split("\n")]
    count = sum(line.startswith("-") for line in lines)
    at = 0
    while at < len(lines):
        line = lines[at]
        if line == "*" and at + 1 < len(lines):
            count += 1
            at += 1  # In the reference a bare star takes the next line with it.
        elif line.startswith("*") and line[1:2] not in ("", "*"):
            count += 1
        at += 1
    return count == int(k["num_bullets"])


@_rule("detectable_format:constrained_response")
def _constrained(text: str, k: Mapping[str, Any]) -> bool:
    return any(option in text for option in CONSTRAINED)


@_rule("detectable_format:number_highlighted_sections")
def _highlights(text: str, k: Mapping[str, Any]) -> bool:
    single = sum(bool(found.strip("*").strip()) for found in re.findall(r"\*[^\n*]*\*", text))
    double = sum(
        bool(found.removeprefix("**").removesuffix("**").strip()) for found in re.findall(r"\*\*[^\n*]*\*\*", text)
    )
    return single + double >= int(k["num_highlights"])


@_rule("detectable_format:multiple_sections")
def _sections(text: str, k: Mapping[str, Any]) -> bool:
    return len(re.findall(rf"{k['section_spliter'].strip()}\s?\d+", text)) >= int(k["num_sections"])


@_rule("detectable_format:json_format")
def _json(text: str, k: Mapping[str, Any]) -> bool:
    text = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


@_rule("detectable_format:title")
def _title(text: str, k: Mapping[str, Any]) -> bool:
    for line in text.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if 0 <= start < end - 2 and line[start : end + 2].lstrip("<").rstrip(">").strip():
            return True
    return False


# -- whole responses --------------------------------------------------------------------------------------------------


@_rule("combination:two_responses")
def _two_responses(text: str, k: Mapping[str, Any]) -> bool:
    parts = [part.strip() for part in text.split("******")]
    if not all(parts[1:-1]):
        return False
    filled = [part for part in parts if part]
    return len(filled) == 2 and filled[0] != filled[1]


@_rule("combination:repeat_prompt")
def _repeat_prompt(text: str, k: Mapping[str, Any]) -> bool:
    return text.strip().lower().startswith(k["prompt_to_repeat"].strip().lower())


@_rule("startend:end_checker")
def _end(text: str, k: Mapping[str, Any]) -> bool:
    return text.strip().strip('"').lower().endswith(k["end_phrase"].strip().lower())


@_rule("startend:quotation")
def _quotation(text: str, k: Mapping[str, Any]) -> bool:
    text = text.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


@_rule("punctuation:no_comma")
def _no_comma(text: str, k: Mapping[str, Any]) -> bool:
    return "," not in text
