"""Sentences, capital words and languages, as IFEval counts them.

The reference counts sentences with NLTK's trained Punkt model, which is data that must be downloaded. The splitter here
is a rule instead: a sentence ends with `.`, `!` or `?` (closing quotes and brackets included) before white space, but
not after an abbreviation or an initial, nor after a number or an ellipsis that goes on in lower case. A line break
alone ends none, as in Punkt. The two differ on abbreviations that only one of them knows.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

_CLOSING = "\"')]}*_”’»"
_OPENING = "\"'([{*_“‘«"
_ABBREVIATION = re.compile(
    r"mr|mrs|ms|mx|dr|prof|st|jr|sr|rev|hon|gen|col|capt|lt|sgt|gov|sen|rep|pres|messrs|mt|ft|vs|etc|al|cf|ca|approx|no"
    r"|nos|fig|figs|vol|vols|pp|ed|eds|inc|ltd|co|corp|bros|dept|univ|assn|est|jan|feb|mar|apr|jun|jul|aug|sep|sept|oct"
    r"|nov|dec|mon|tue|tues|wed|thu|thurs|fri|sat|sun|ave|blvd|rd|e\.g|i\.e|a\.m|p\.m|u\.s|u\.k|u\.n|ph\.d|m\.d|b\.a|m\.a"
    r"|b\.sc|m\.sc|d\.c"
)
_STARTER = re.compile(
    r"a|an|the|this|that|these|those|it|he|she|they|we|i|you|his|her|their|our|my|there|here|in|on|at|for|and|but|so"
    r"|however|moreover|if|when|while|as|after|before|with|what|why|how|who"
)
_DETECTED = 20_000
"""Characters that language detection sees; langdetect itself stops at 10,000."""


def sentences(text: str) -> int:
    """How many sentences a text has."""
    return len(split_sentences(text))


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, without the white space between them."""
    found: list[str] = []
    start = -1
    words = list(re.finditer(r"\S+", text))
    for word, following in zip(words, [*(match[0] for match in words[1:]), ""], strict=False):
        start = word.start() if start < 0 else start
        if _ends_sentence(word[0].rstrip(_CLOSING), following.lstrip(_OPENING)):
            found.append(text[start : word.end()])
            start = -1
    return found if start < 0 else [*found, text[start:].rstrip()]


def _ends_sentence(token: str, following: str) -> bool:
    if token[-1:] in ("!", "?"):
        return True
    if token[-1:] != ".":
        return False
    word = token[:-1].lstrip(_OPENING).lower()
    if word.endswith("."):
        return not following or following[0].isupper()
    if word.isdigit():
        return not following[:1].islower()
    if _ABBREVIATION.fullmatch(word):
        may_end = "." in word or word == "etc"
        return not following or (
            may_end and following[0].isupper() and _STARTER.fullmatch(following.lower()) is not None
        )
    initial = len(word) == 1 and word.isalpha() and word != "i"
    return not (initial and following and following[0].isupper())


_SPLIT = re.compile(r"[«“‘„`»”’;@#$%&‒–—―?!*\[\](){}<>\"]|''|--|\.{2,}|[:,](?!\d)")
_LEADING = re.compile(r"(?<!\w)'(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)", re.IGNORECASE)
_CLITIC = re.compile(r"(?<=[^' ])('[SMD]|'LL|'RE|'VE|N'T)(?=\.*(?:\s|$))")
_DOUBLE = re.compile(r"\b(?:(CAN)(NOT)|(GIM)(ME)|(GON)(NA)|(GOT)(TA)|(LEM)(ME)|(WAN)(NA))\b")


def capital_words(text: str) -> int:
    """Tokens in capitals only, as NLTK's word tokenizer makes them: hyphened words are one, clitics are their own."""
    text = _SPLIT.sub(" ", text)
    text = _LEADING.sub(" ", text)
    text = _CLITIC.sub(r" \1", text)
    text = _DOUBLE.sub(lambda match: " ".join(part for part in match.groups() if part), text)
    return sum(token.isupper() for token in text.split())


@cache
def _detector() -> Any:
    import langdetect

    langdetect.DetectorFactory.seed = 0  # it draws at random otherwise, and verdicts must not
    return langdetect


def language_of(text: str) -> str | None:
    """ISO 639-1 code of a text's language; None where none can be told."""
    langdetect = _detector()
    try:
        code: str = langdetect.detect(text[:_DETECTED])
    except langdetect.LangDetectException:
        return None
    return code
