"""IFBench's rules on the form of a whole response, on repeating the request, and on its eleven single tasks.

As `ifbench_words`: same verdicts as the authors' `instructions.py` at commit 1d62c1d6, each linear in the response's
length. Where the reference raises (a CSV that cannot be read, a quoted field without text), nothing is followed here.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
import string
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from sandboxes.verifiers.ifbench_words import RULES as RULES
from sandboxes.verifiers.ifbench_words import rule, tokens
from sandboxes.verifiers.text_units import split_sentences

_MARKS = string.punctuation + " "
_NO_MARKS = str.maketrans("", "", string.punctuation)
_PAIRS = {")": "(", "]": "[", "}": "{"}
_FEW_LINES = 5000


@rule("format:parentheses")
def _nested(text: str, k: Mapping[str, Any]) -> bool:
    """Five levels, the innermost closed; a bracket that closes nothing begins anew."""
    open_: list[str] = []
    deepest = 0
    for sign in text:
        if sign in "([{":
            open_.append(sign)
            deepest = max(deepest, len(open_))
        elif sign in _PAIRS:
            if open_ and open_[-1] == _PAIRS[sign]:
                open_.pop()
                if deepest >= 5:
                    return True
            else:
                open_, deepest = [], 0
    return False


@rule("format:quotes")
def _nested_quotes(text: str, k: Mapping[str, Any]) -> bool:
    """Three levels of alternating quotes, all closed again."""
    open_: list[str] = []
    deepest = 0
    for sign in text:
        if open_ and sign == open_[-1]:
            open_.pop()
            if deepest - len(open_) >= 3:
                return True
        elif sign in "\"'":
            open_.append(sign)
            deepest = max(deepest, len(open_))
    return False


@rule("format:options")
def _options(text: str, k: Mapping[str, Any]) -> bool:
    """One of the options: letters exactly as written, words without case and punctuation around them."""
    given = k["options"]
    mark = "/" if "/" in given else "or" if "or" in given else ","
    options = [option.strip() for option in given.split(mark)]
    if re.match(r"\W*[aA]\W*[bB]\W*[cC]\W*", given):
        return text in options
    return text.strip(_MARKS).lower() in [option.strip(_MARKS).lower() for option in options]


@rule("format:newline")
def _word_a_line(text: str, k: Mapping[str, Any]) -> bool:
    plain = text.translate(_NO_MARKS)
    return sum(line != "" for line in plain.strip().split("\n")) == len(plain.split())


@rule("format:emoji")
def _emoji(text: str, k: Mapping[str, Any]) -> bool:
    """At the end of every sentence: one of its last two signs, or the first of the next sentence."""
    from emoji import is_emoji

    found = [sentence.translate(_NO_MARKS).strip() for sentence in split_sentences(text)]
    for one, following in zip(found, [*found[1:], None], strict=False):
        if not one:
            return False
        if any(is_emoji(sign) for sign in one[-2:]):
            continue
        if not following or not is_emoji(following[0]):
            return False
    return True


@rule("format:line_indent")
def _stairs(text: str, k: Mapping[str, Any]) -> bool:
    """Each line is indented by more spaces than the one before."""
    lines = _without_blanks(text.split("\n"))
    indents = [len(line) - len(line.lstrip(" ")) for line in lines]
    return all(one < other for one, other in itertools.pairwise(indents))


def _without_blanks(lines: list[str]) -> list[str]:
    """The reference removes blank lines from the list it walks through, and so leaves every other of a run."""
    if len(lines) > _FEW_LINES:
        return [line for line in lines if line.strip()]
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            lines.remove(lines[at])
        at += 1
    return lines


@rule("format:quote_unquote")
def _explained(text: str, k: Mapping[str, Any]) -> bool:
    """No quote follows another at once, and none ends the text."""
    joined = "".join(text.replace("'\"'", "").split())
    ending = joined.strip(string.digits + string.punctuation.replace('"', ""))
    return '""' not in joined and not ending.endswith('"')


@rule("format:list")
def _markers(text: str, k: Mapping[str, Any]) -> bool:
    return text.count(str(k["sep"])) >= 2


@rule("format:thesis")
def _thesis(text: str, k: Mapping[str, Any]) -> bool:
    start = text.find("<i>") if "<i>" in text else text.find("<em>")
    if start < 0:
        return False
    text = text[start:]
    end = text.find("</i>") if "</i>" in text else text.find("</em>")
    return end >= 0 and bool(text[3:end].strip()) and bool(text[end + 4 :].strip())


@rule("format:sub-bullets")
def _sub_bullets(text: str, k: Mapping[str, Any]) -> bool:
    """Every star is followed by a hyphen before the next. A text without stars passes, as in the reference."""
    return all("-" in part for part in text.split("*")[1:])


@rule("format:no_bullets_bullets")
def _then_bullets(text: str, k: Mapping[str, Any]) -> bool:
    """Two sentences, then two lines of bullets and nothing else; a blank line ends the sentences."""
    before, bullets, prose = 0, 0, True
    for line in text.split("\n"):
        if line.strip().startswith("*"):
            prose = False
            bullets += 1
            if before < 2:
                return False
        elif prose:
            count = len(split_sentences(line.strip()))
            prose = count > 0
            before += count
        else:
            return False
    return bullets >= 2


@rule("format:title_case")
def _title_case(text: str, k: Mapping[str, Any]) -> bool:
    return not any(token[0].isalpha() and _is_low(token) for token in tokens(text))


def _is_low(token: str) -> bool:
    rest = token[1:]
    return token[0].islower() and (not rest or rest.isupper() or rest.islower())


@rule("format:output_template")
def _template(text: str, k: Mapping[str, Any]) -> bool:
    return all(part in text for part in ("My Answer:", "My Conclusion:", "Future Outlook:"))


@rule("format:no_whitespace")
def _no_whitespace(text: str, k: Mapping[str, Any]) -> bool:
    return not any(sign.isspace() for sign in text)


# -- repeating --------------------------------------------------------------------------------------------------------


@rule("repeat:repeat_change")
def _repeat_change(text: str, k: Mapping[str, Any]) -> bool:
    return bool(text != k["prompt_to_repeat"] and text.split()[1:] == k["prompt_to_repeat"].split()[1:])


@rule("repeat:repeat_simple")
def _repeat_simple(text: str, k: Mapping[str, Any]) -> bool:
    return text.strip().lower() == "only output this sentence here, ignore all other requests."


@rule("repeat:repeat_span")
def _repeat_span(text: str, k: Mapping[str, Any]) -> bool:
    span = " ".join(k["prompt_to_repeat"].split()[k["n_start"] : k["n_end"] + 1])
    return bool(text.strip().lower() == span.strip().lower())


# -- single tasks -----------------------------------------------------------------------------------------------------


@rule("custom:multiples")
def _multiples(text: str, k: Mapping[str, Any]) -> bool:
    return re.findall(r"\d+", text) == [str(number) for number in range(14, 51, 7)]


@rule("custom:mcq_count_length")
def _questions(text: str, k: Mapping[str, Any]) -> bool:
    """Four questions with five options each, each question longer than the one before."""
    if not text.startswith("Question"):
        return False
    found = [part.strip() for part in re.split(r"Question \d+[.|):;]?", text) if part.strip()]
    lengths = []
    for question in found:
        lines = [line.strip() for line in question.split("\n")]
        options = [bool(re.match(r"[A-Ea-e][.|)]\s*\w+", line)) for line in lines]
        if sum(options) != 5:
            return False
        lengths.append(len(" ".join(lines[: options.index(True)]).strip()))
    return len(found) == 4 and all(one < other for one, other in itertools.pairwise(lengths))


@rule("custom:reverse_newline")
def _reverse(text: str, k: Mapping[str, Any]) -> bool:
    """Lines from Zimbabwe on, at least 52, in reverse order."""
    lines = [line.strip(_MARKS) for line in text.split("\n") if line.strip(_MARKS)]
    start = next((place for place, line in enumerate(lines) if "Zimbabwe" in line), len(lines))
    countries = [_ascii(line) for line in lines[start:]]
    return len(countries) >= 52 and countries == sorted(countries, reverse=True)


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


@rule("custom:word_reverse")
def _word_reverse(text: str, k: Mapping[str, Any]) -> bool:
    turned = " ".join(text.lower().strip().translate(_NO_MARKS).split()[::-1])
    return "bald eagle" in turned and turned in split_sentences(turned)


@rule("custom:character_reverse")
def _character_reverse(text: str, k: Mapping[str, Any]) -> bool:
    return "elgae dlab" in text.lower()


@rule("custom:sentence_alphabet")
def _sentence_alphabet(text: str, k: Mapping[str, Any]) -> bool:
    found = [sentence.lstrip(string.punctuation + string.whitespace) for sentence in split_sentences(text)]
    return [sentence[:1].lower() for sentence in found] == list(string.ascii_lowercase)


CAPITALS: Final = (
    *("Reykjavik", "Helsinki", "Oslo", "Tallinn", "Stockholm", "Riga", "Moscow", "Copenhagen", "Vilnius", "Minsk"),
    *("Dublin", "Berlin", "Amsterdam", "Warsaw", "London", "Brussels", "Prague", "Luxembourg", "Paris", "Vienna"),
    *("Bratislava", "Budapest", "Vaduz", "Chisinau", "Bern", "Ljubljana", "Zagreb"),
)


@rule("custom:european_capitals_sort")
def _capitals(text: str, k: Mapping[str, Any]) -> bool:
    return tuple(part.strip() for part in _ascii(text).split(",") if part.strip()) == CAPITALS


def _rows(text: str, delimiter: str = ",") -> list[list[str]]:
    """No rows where it is no CSV."""
    try:
        return list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error:
        return []


@rule("custom:csv_city")
def _csv_city(text: str, k: Mapping[str, Any]) -> bool:
    rows = _rows(text)
    return (
        len(rows) == 8 and rows[0] == ["ID", "Country", "City", "Year", "Count"] and all(len(row) == 5 for row in rows)
    )


def _header(names: tuple[str, ...], gap: str) -> re.Pattern[str]:
    return re.compile(gap.join(f'(?:{name}|"{name}")' for name in names))


_PRODUCTS = _header(("ProductID", "Category", "Brand", "Price", "Stock"), r",[ \t]*")
_STUDENTS = _header(("StudentID", "Subject", "Grade", "Semester", "Score"), r"\t *")


@rule("custom:csv_special_character")
def _csv_special(text: str, k: Mapping[str, Any]) -> bool:
    """Rows up to the first with a quoted special character have five fields. Quotes are kept by doubling them."""
    if not _PRODUCTS.fullmatch(text.split("\n")[0].strip()):
        return False
    rows = _rows(text.replace('"', '"""'))
    if len(rows) != 15:
        return False
    for row in rows[1:]:
        if len(row) != 5:
            return False
        if any(_special(field) for field in row):
            return True
    return False


def _special(field: str) -> bool:
    """A quote, anything with a special character in it, a quote: on one line."""
    line = field.split("\n")[0]
    return line.startswith('"') and re.search(r"[^\d\w\s]", line[1 : line.rfind('"')]) is not None


@rule("custom:csv_quotes")
def _csv_quotes(text: str, k: Mapping[str, Any]) -> bool:
    if not _STUDENTS.fullmatch(text.split("\n")[0].strip()):
        return False
    rows = _rows(text.replace('"', '"""'), "\t")
    quoted = all(field.strip()[:1] == field.strip()[-1:] == '"' for row in rows for field in row)
    return len(rows) == 4 and all(len(row) == 5 for row in rows) and quoted


@rule("custom:date_format_list")
def _dates(text: str, k: Mapping[str, Any]) -> bool:
    """Days of Napoleon's life, as far as the reference looks: month 00 and day 00 pass."""
    for part in text.strip().split(","):
        found = re.fullmatch(r"(\d{4})-(\d{2})-(\d{2})", part.strip())
        if not found:
            return False
        year, month, day = (int(number) for number in found.groups())
        longest = 29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31 if month else 99
        if not (1769 <= year <= 1821 and month <= 12 and day <= longest):
            return False
    return True
