"""IFBench's rules on words and sentences (Pyatkin et al. 2025): counts, ratios, repetitions, orders.

The reference is the authors' `instructions.py` (allenai/IFBench, commit 1d62c1d6). It needs NLTK's trained data, which
cannot be pinned or bundled; what stands in for it is said at the rule: sentences are those of `text_units`, stop words
NLTK's list written out, the part of speech of a first word that of TextBlob's lexicon. Words are cut by NLTK's own
tokenizer, which needs no data. The packages are in the extra `ifbench`.
"""

from __future__ import annotations

import itertools
import re
import string
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from sandboxes.verifiers.ifbench_lists import NAMES, PRONOUNS, STOP_WORDS
from sandboxes.verifiers.text_units import split_sentences

Rule = Callable[[str, Mapping[str, Any]], bool]
RULES: Final[dict[str, Rule]] = {}
PACKAGES: Final = ("emoji", "nltk", "syllapy", "textblob")
"""What the rules import; the suite asks for them before anything is judged."""

_MARKS = string.punctuation + " "
_NO_MARKS = str.maketrans("", "", string.punctuation)
_TAGGED = 2000


def rule(name: str) -> Callable[[Rule], Rule]:
    """Register a rule."""

    def register(made: Rule) -> Rule:
        RULES[name] = made
        return made

    return register


def bare(text: str) -> list[str]:
    """Words in lower case, without any punctuation."""
    return text.lower().translate(_NO_MARKS).split()


@cache
def _tokenizer() -> Any:
    from nltk.tokenize import NLTKWordTokenizer

    return NLTKWordTokenizer()


def tokens(text: str) -> list[str]:
    """NLTK's word tokens, sentence by sentence."""
    return [token for sentence in split_sentences(text) for token in _tokenizer().tokenize(sentence)]


def _word_tokens(text: str) -> list[str]:
    return [token for token in tokens(text) if any(sign.isalnum() for sign in token)]


# -- counts -----------------------------------------------------------------------------------------------------------


@rule("count:word_count_range")
def _word_range(text: str, k: Mapping[str, Any]) -> bool:
    return bool(k["min_words"] <= len(re.findall(r"\w+", text)) <= k["max_words"])


@rule("count:unique_word_count")
def _unique(text: str, k: Mapping[str, Any]) -> bool:
    return len({word.strip(_MARKS) for word in text.lower().split()}) >= int(k["N"])


@rule("count:conjunctions")
def _conjunctions(text: str, k: Mapping[str, Any]) -> bool:
    """Different as written: `And` and `and` are two, as in the reference."""
    known = {"and", "but", "for", "nor", "or", "so", "yet"}
    return len({word for word in text.split() if word.strip(_MARKS).lower() in known}) >= int(k["small_n"])


@rule("count:person_names")
def _names(text: str, k: Mapping[str, Any]) -> bool:
    return sum(re.search(rf"\b{name}\b", text) is not None for name in NAMES) >= int(k["N"])


@rule("count:numbers")
def _numbers(text: str, k: Mapping[str, Any]) -> bool:
    return len(re.findall(r"\d+", text.translate(_NO_MARKS))) == int(k["N"])


@rule("count:pronouns")
def _pronouns(text: str, k: Mapping[str, Any]) -> bool:
    return sum(word in PRONOUNS for word in tokens(text.replace("/", " ").lower())) >= int(k["N"])


@rule("count:punctuation")
def _punctuation(text: str, k: Mapping[str, Any]) -> bool:
    """Every mark, and an interrobang besides."""
    if not any(both in text for both in ("!?", "?!", "‽")):
        return False
    without = text.replace("?!", "", 1)
    without = text.replace("!?", "", 1) if len(without) == len(text) else without
    return set(".,!?;:") <= set(without)


@rule("count:words_japanese")
def _japanese(text: str, k: Mapping[str, Any]) -> bool:
    for place, word in enumerate(text.split(), 1):
        word = word.strip(_MARKS)
        due = place % int(k["N"]) == 0 and word and not word.isdigit()
        if due and not re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", word):
            return False
    return True


@rule("count:keywords_multiple")
def _keywords(text: str, k: Mapping[str, Any]) -> bool:
    return all(
        len(re.findall(rf"\b{re.escape(k[f'keyword{place}'].strip())}\b", text, re.IGNORECASE)) == count
        for place, count in enumerate((1, 2, 3, 5, 7), 1)
    )


# -- ratios -----------------------------------------------------------------------------------------------------------


@rule("ratio:stop_words")
def _stop_words(text: str, k: Mapping[str, Any]) -> bool:
    words = re.findall(r"\w+", text)
    return bool(words) and sum(word.lower() in STOP_WORDS for word in words) / len(words) * 100 <= float(
        k["percentage"]
    )


def _kinds(text: str) -> tuple[int, int, int]:
    """Sentences that end in a full stop, a question mark, an exclamation mark."""
    ends = Counter(sentence[-1] for sentence in split_sentences(text))
    return ends["."], ends["?"], ends["!"]


@rule("ratio:sentence_type")
def _two_to_one(text: str, k: Mapping[str, Any]) -> bool:
    declarative, interrogative, _ = _kinds(text)
    return declarative == 2 * interrogative


@rule("ratio:sentence_balance")
def _balance(text: str, k: Mapping[str, Any]) -> bool:
    return len(set(_kinds(text))) == 1


@rule("ratio:overlap")
def _overlap(text: str, k: Mapping[str, Any]) -> bool:
    """Trigrams of words. At the commit of the data the reference took those of letters, which it has mended since."""
    grams, wanted = (set(zip(t, t[1:], t[2:], strict=False)) for t in (tokens(text), tokens(k["reference_text"])))
    return bool(grams) and abs(len(grams & wanted) / len(grams) * 100 - float(k["percentage"])) <= 2


@rule("ratio:sentence_words")
def _same_length(text: str, k: Mapping[str, Any]) -> bool:
    """Three sentences of the same number of characters, no word twice."""
    found = split_sentences(text)
    words = bare(" ".join(found))
    return len(found) == 3 and len({len(one.strip()) for one in found}) == 1 and len(words) == len(set(words))


# -- words ------------------------------------------------------------------------------------------------------------


@rule("words:alphabet")
def _alphabet(text: str, k: Mapping[str, Any]) -> bool:
    words = text.translate(_NO_MARKS).split()
    letters = string.ascii_lowercase
    if not words or words[0][0].lower() not in letters:
        return False
    first = letters.index(words[0][0].lower())
    return all(word.lower()[0] == letters[(first + step) % 26] for step, word in enumerate(words))


@rule("words:vowel")
def _vowels(text: str, k: Mapping[str, Any]) -> bool:
    """One paragraph with three of the five vowels at most."""
    return "\n" not in text.strip() and len(set("aeiou") & set(text.lower())) <= 3


@rule("words:consonants")
def _clusters(text: str, k: Mapping[str, Any]) -> bool:
    return all(re.search(r"[bcdfghjklmnpqrstvwxyz]{2}", word) for word in text.lower().split())


@rule("words:palindrome")
def _palindromes(text: str, k: Mapping[str, Any]) -> bool:
    return sum(len(word) >= 5 and word == word[::-1] for word in bare(text)) >= 10


_PRIMES = frozenset(n for n in range(2, 98) if all(n % d for d in range(2, n)))


@rule("words:prime_lengths")
def _prime_lengths(text: str, k: Mapping[str, Any]) -> bool:
    return all(len(word) in _PRIMES for word in text.translate(_NO_MARKS).split())


@rule("words:repeats")
def _repeats(text: str, k: Mapping[str, Any]) -> bool:
    return max(Counter(bare(text)).values(), default=0) <= int(k["small_n"])


@rule("words:no_consecutive")
def _no_consecutive(text: str, k: Mapping[str, Any]) -> bool:
    words = bare(text)
    return all(one[0] != other[0] for one, other in itertools.pairwise(words))


@rule("words:odd_even_syllables")
def _syllables(text: str, k: Mapping[str, Any]) -> bool:
    import syllapy

    odd = [syllapy.count(word) % 2 for word in bare(text)]
    return all(one != other for one, other in itertools.pairwise(odd))


@rule("words:start_verb")
def _start_verb(text: str, k: Mapping[str, Any]) -> bool:
    """The first token's part of speech, by TextBlob's lexicon; the reference asks NLTK's trained tagger."""
    from textblob.en.taggers import PatternTagger

    tagged = PatternTagger().tag(text.strip()[:_TAGGED])
    return bool(tagged) and "VB" in tagged[0][1]


@rule("words:last_first")
def _last_first(text: str, k: Mapping[str, Any]) -> bool:
    found = split_sentences(text)
    for one, following in itertools.pairwise(found):
        last, first = one.rstrip(_MARKS).split(), following.lstrip(_MARKS).split()
        if not last or not first or last[-1].lower() != first[0].lower():
            return False
    return True


@rule("words:paragraph_last_first")
def _paragraph_last_first(text: str, k: Mapping[str, Any]) -> bool:
    paragraphs = (line.strip().lower().strip(_MARKS).split() for line in text.split("\n"))
    return all(words[0] == words[-1] for words in paragraphs if words)


@rule("words:keywords_specific_position")
def _keyword_at(text: str, k: Mapping[str, Any]) -> bool:
    found, n, m = split_sentences(text), int(k["n"]), int(k["m"])
    words = _word_tokens(found[n - 1]) if len(found) >= n else []
    return len(words) >= m and words[m - 1].lower() == str(k["keyword"]).strip().lower()


@rule("words:words_position")
def _second_words(text: str, k: Mapping[str, Any]) -> bool:
    words = [word.lower() for word in _word_tokens(text)]
    return len(words) >= 2 and words[1] == words[-2] == str(k["keyword"]).strip().lower()


# -- sentences --------------------------------------------------------------------------------------------------------


@rule("sentence:alliteration_increment")
def _alliteration(text: str, k: Mapping[str, Any]) -> bool:
    before = -1
    for sentence in split_sentences(text):
        initials = [word[0] for word in (raw.lstrip(_MARKS) for raw in sentence.lower().split()) if word]
        same = [one == other for one, other in itertools.pairwise(initials)]
        count = sum(1 if place and same[place - 1] else 2 for place, equal in enumerate(same) if equal)
        if count <= before:
            return False
        before = count
    return True


@rule("sentence:increment")
def _increment(text: str, k: Mapping[str, Any]) -> bool:
    lengths = [len(bare(sentence)) for sentence in split_sentences(text)]
    return all(other == one + int(k["small_n"]) for one, other in itertools.pairwise(lengths))


@rule("sentence:keyword")
def _sentence_keyword(text: str, k: Mapping[str, Any]) -> bool:
    found, place = split_sentences(text), int(k["N"])
    return len(found) >= place and bool(re.search(rf"\b{re.escape(k['word'])}\b", found[place - 1], re.IGNORECASE))
