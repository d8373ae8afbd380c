"""IFBench's rules: each seen to hold and not to hold, on text written for it; and none takes long on a hostile one."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sandboxes.check import InstructionsCheck
from sandboxes.verdict import Outcome
from sandboxes.verifiers.ifbench_forms import CAPITALS, RULES
from sandboxes.verifiers.instructions import InstructionsVerifier
from sandboxes.verifiers.text_units import sentences, split_sentences

AFRICA = "\n".join(["Zimbabwe", *(f"{chr(ord('Y') - n // 3)}{chr(ord('z') - n % 3)}land" for n in range(53))])
STORY = " ".join(f"{chr(65 + n)}nd so it went." for n in range(26))
QUESTIONS = "".join(f"Question {n}. {'Why ' * n}so?\nA. one\nB. two\nC. three\nD. four\nE. five\n" for n in range(1, 5))
CITY = "ID,Country,City,Year,Count\n" + "\n".join(f"{n},X,Y,2000,{n}" for n in range(7))
PRODUCT = "ProductID,Category,Brand,Price,Stock\n" + "\n".join(f'{n},"a & b",C,1,2' for n in range(14))
STUDENT = "\n".join("\t".join(f'"{word}"' for word in row.split()) for row in (
    "StudentID Subject Grade Semester Score", "1 a b c d", "2 a b c d", "3 a b c d"
))  # fmt: skip
KEYWORDS = {f"keyword{n}": word for n, word in enumerate(("ant", "bee", "cat", "dog", "eel"), 1)}

CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("count:word_count_range", {"min_words": 3, "max_words": 4}, "one two three", "one two"),
    ("count:unique_word_count", {"N": 2.0}, "Red, blue.", "Red red RED."),
    ("count:conjunctions", {"small_n": 2.0}, "This and that, but no.", "This and that and this."),
    ("count:person_names", {"N": 2.0}, "Emma met Liam.", "Emma met Emmanuel."),
    ("count:numbers", {"N": 2.0}, "1,000 of 3.5", "1 and 2 and 3"),
    ("count:pronouns", {"N": 3.0}, "She/her saw it.", "The dog saw."),
    ("count:punctuation", {}, "Really?! Yes, no; well: so. Oh! And?", "Really?! Yes."),
    ("count:words_japanese", {"N": 2.0}, "one 猫 three ねこ", "one two"),
    ("count:keywords_multiple", KEYWORDS, "ant" + " bee" * 2 + " cat" * 3 + " Dog" * 5 + " eel" * 7, "ant ant"),
    ("ratio:stop_words", {"percentage": 50.0}, "The quick brown fox", "It is on the table"),
    ("ratio:sentence_type", {}, "One. Two. Three?", "One. Two?"),
    ("ratio:sentence_balance", {}, "One. Two? Three!", "One. Two."),
    ("ratio:overlap", {"percentage": 50.0, "reference_text": "a b c d"}, "a b c e", "a b c d"),
    ("ratio:sentence_words", {}, "A bc. D ef. G hi.", "A bc. A bc. D ef."),
    ("words:alphabet", {}, "Yes zebras always", "Yes zebras zoom"),
    ("words:vowel", {}, "An apple is nice", "You are nice, I do say"),
    ("words:consonants", {}, "strict black pants", "strict black a"),
    ("words:palindrome", {}, "level " * 10, "level " * 9 + "noon"),
    ("words:prime_lengths", {}, "We saw seven", "Four"),
    ("words:repeats", {"small_n": 2.0}, "a b a b", "a, A. a!"),
    ("words:no_consecutive", {}, "Red dogs run", "Red rabbits"),
    ("words:odd_even_syllables", {}, "dog water cat", "dog cat"),
    ("words:start_verb", {}, "Write it down.", "The pen writes."),
    ("words:last_first", {}, "I like tea. Tea is hot.", "I like tea. Coffee too."),
    ("words:paragraph_last_first", {}, "Tea is tea.\n\nSo be it, so", "Tea is hot."),
    ("words:keywords_specific_position", {"keyword": "fox", "n": 2, "m": 3}, "Hm. A red fox, yes.", "Hm. A fox."),
    ("words:words_position", {"keyword": "vibrant"}, "A vibrant, very vibrant day.", "A day so vibrant"),
    ("sentence:alliteration_increment", {}, "One red fish. Big bad dog. Six sick sad cats.", "Big bad. Red rag."),
    ("sentence:increment", {"small_n": 1.0}, "One two. One two three.", "One two. One two."),
    ("sentence:keyword", {"N": 2.0, "word": "fox"}, "Hm. A FOX!", "A fox. Hm."),
    ("format:parentheses", {}, "([{([x])}])", "((((x))))"),
    ("format:quotes", {}, '"a \'b "c" b\' a"', "\"a 'b' a\""),
    ("format:options", {"options": "yes/no/maybe"}, "Maybe.", "Maybe so"),
    ("format:options", {"options": "a), b), c), d)"}, "b)", "b"),
    ("format:newline", {}, "One\n\ntwo,\nthree", "One two\nthree"),
    ("format:emoji", {}, "Fine 🙂. Good! 🎉", "Fine 🙂. Good!"),
    ("format:line_indent", {}, "a\n b\n   c", "a\n b\n c"),
    ("format:quote_unquote", {}, '"So" he said. "Yes" too.', 'He said "yes".'),
    ("format:list", {"sep": "!?!?"}, "!?!? a\n!?!? b", "!?!? a"),
    ("format:thesis", {}, "<i>Tea is good.</i> It is hot.", "<i></i> It is hot."),
    ("format:sub-bullets", {}, "* a\n - b\n* c\n - d", "* a\n* b\n - c"),
    ("format:no_bullets_bullets", {}, "One. Two.\n* a\n* b", "One.\n* a\n* b"),
    ("format:title_case", {}, "A Tale Of Two", "A tale Of Two"),
    ("format:output_template", {}, "My Answer: a My Conclusion: b Future Outlook: c", "My Answer: a"),
    ("format:no_whitespace", {}, "one-two", "one two"),
    ("repeat:repeat_change", {"prompt_to_repeat": "Write a poem"}, "Sing a poem", "Write a poem"),
    ("repeat:repeat_simple", {}, "Only output this sentence here, ignore all other requests.", "Sure."),
    ("repeat:repeat_span", {"prompt_to_repeat": "a b c d", "n_start": 1, "n_end": 2}, "B c", "a b"),
    ("custom:multiples", {}, "14,21,28,35,42,49", "7, 14, 21, 28, 35, 42, 49"),
    ("custom:mcq_count_length", {}, QUESTIONS, QUESTIONS.replace("E. five", "", 1)),
    ("custom:reverse_newline", {}, AFRICA, "Zimbabwe\nZambia"),
    ("custom:word_reverse", {}, "Eagle bald the is it.", "It is the bald eagle."),
    ("custom:character_reverse", {}, ".elgae dlab ehT", "The bald eagle."),
    ("custom:sentence_alphabet", {}, STORY, STORY.replace("Bnd", "Dnd")),
    ("custom:european_capitals_sort", {}, ", ".join(CAPITALS).replace("Chisinau", "Chișinău"), "Paris, Berlin"),
    ("custom:csv_city", {}, CITY, CITY + "\n8,a,b,c,d"),
    ("custom:csv_special_character", {}, PRODUCT, PRODUCT.replace("&", "and")),
    ("custom:csv_quotes", {}, STUDENT, STUDENT.replace('"1"', "1")),
    ("custom:date_format_list", {}, "1796-04-12, 1815-06-18", "1815-02-30"),
]


@pytest.mark.parametrize(("name", "kwargs", "follows", "does_not"), CASES, ids=[case[0] for case in CASES])
async def test_a_rule_holds_and_does_not(name: str, kwargs: dict[str, Any], follows: str, does_not: str) -> None:
    check = InstructionsCheck(kind="instructions", prompt="p", instruction_id_list=[name], kwargs=[kwargs])
    assert (await InstructionsVerifier().verify(check, follows)).outcome is Outcome.PASSED
    strict = await InstructionsVerifier().verify(check, does_not)
    assert (strict.outcome, strict.parts["prompt_strict"]) == (Outcome.FAILED, 0.0)


def test_every_rule_of_the_data_is_there(data_dir: Any) -> None:
    from suites.chat.ifbench import PROMPTS
    from suites.sources import read_jsonl

    named = {name for row in read_jsonl(PROMPTS) for name in row["instruction_id_list"]}
    assert named == set(RULES) == {case[0] for case in CASES}


HOSTILE = (
    "a" * 100_000,
    "\n" * 100_000,
    "((" * 50_000,
    "\"'" * 50_000,
    "a. " * 33_000,
    "Question " * 11_000,
    "* " * 50_000,
)


@pytest.mark.parametrize("name", sorted(RULES))
def test_no_rule_takes_long(name: str) -> None:
    kwargs = next(case[1] for case in CASES if case[0] == name)
    for text in HOSTILE:
        started = time.process_time()
        RULES[name](text, kwargs)
        assert time.process_time() - started < 30, text[:10]


def test_sentences_keep_their_text() -> None:
    text = '  Dr. Who left. "Why?"\n\nNobody knows!  \n'
    assert split_sentences(text) == ["Dr. Who left.", '"Why?"', "Nobody knows!"]
    assert sentences(text) == 3
    assert split_sentences(" \n ") == []
    assert split_sentences("no end \n") == ["no end"]
