from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.extract import choice_letter, final_answer, last_boxed, number, without_run_on


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("\\boxed{29}", "29"),
        ("first \\boxed{1}, then \\boxed{2}", "2"),
        ("\\fbox{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed {5}", "5"),
        ("\\boxed 5.", "5"),
        ("so $\\boxed 5$", "5"),
        ("\\boxed{\\boxed{5}}", "5"),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed{ never closed \\boxed{5}", "5"),
        ("\\boxed{29", None),
        ("\\boxed{}", None),
        ("\\boxed{1} or \\boxed{2}", "1, 2"),
        ("$\\boxed{1}$ and $\\boxed{1}$", "1"),
        ("a } stray { brace \\boxed{3}", "3"),
        ("The final answer is $\\boxed{5}$.", "5"),
        ("The final answer is 5, not \\boxed{6}", "6"),
        ("\\boxed{5}, so the answer is 7", "5"),
        ("#### 29", "29"),
        ("3 + 4 = 7\n#### 7\n", "7"),
        ("The answer is 5.\n\n#### Explanation\nBecause.", "5"),
        ("The answer is $29.00.", "29.00"),
        ("The answer is 29 dollars per week.", "29"),
        ("The answer is $5 per item.", "5"),
        ("**Answer:** 29", "29"),
        ("Answer:\n\n29", "29"),
        ("**Final Answer**: \\(x=5\\)", "x=5"),
        ("Final Answer: The final answer is $3$. I hope it is correct.", "3"),
        ("The final answer is:\n$$\n\\frac12\n$$", "\\frac12"),
        ("The answer is: $x = 5$ and $y = 6$.", "x = 5, y = 6"),
        ("The answer is $3$ or $5$.", "3, 5"),
        ("The answer is 3 or $5$.", None),
        ("The wrong answer is 5. The answer is 6.", "6"),
        ("The answer is 5 feet 3 inches.", "5 feet 3 inches"),
        ("She pays 5 a day, 10 in total", None),
        ("29", None),
        ("", None),
    ],
)
def test_what_counts_as_the_final_answer(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


def test_running_on_into_the_next_question_changes_nothing() -> None:
    text = "It is 4 + 5 = 9. The answer is 9.\n\nQ: Tom has 3 hats.\nA: The answer is 3.\n\nQ: and so on"
    assert final_answer(text) == "9"
    assert final_answer("\\boxed{9}\n\n**Problem 2:** what next?\n\\boxed{7}") == "9"
    assert final_answer("Question: what is 4 + 5?\nThe answer is 9.") == "9"
    assert without_run_on("Q: a\nQ: b") == "Q: a\nQ: b"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("29", 29),
        ("$29.00", 29),
        ("\\$29", 29),
        ("29.", 29),
        ("1,234", 1234),
        ("12,345,678.50", Fraction(24691357, 2)),
        ("-3", -3),
        ("−3", -3),
        ("-$5", -5),
        ("$-5", -5),
        ("65%", 65),
        ("65\\%", 65),
        (".5", Fraction(1, 2)),
        ("3/4", Fraction(3, 4)),
        ("1/0", None),
        ("1,23", None),
        ("1e5", None),
        ("1_000", None),
        ("--5", None),
        ("٢٩", None),
        ("2９", None),
        ("2\u200b9", None),
        ("nan", None),
        ("", None),
        (".", None),
        ("9" * 5000, None),
    ],
)
def test_plain_numbers(text: str, value: int | Fraction | None) -> None:
    assert number(text) == value


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("C", "C"),
        ("(C)", "C"),
        (" **C**\n", "C"),
        ("C. Paris", "C"),
        ("C\n\nQuestion: next\nAnswer: A", "C"),
        ("\\boxed{C}", "C"),
        ("$\\boxed{\\text{(C)}}$", "C"),
        ("\\boxed{C. Paris}", "C"),
        ("The answer is (C) Paris", "C"),
        ("The answer is \\(C\\).", "C"),
        ("**Answer: C**", "C"),
        ("Answer: **C**", "C"),
        ("Answer: C because of A", "C"),
        ("The answer is C, not B.", "C"),
        ("The correct option is C.", "C"),
        ("The best answer is: option C", "C"),
        ("#### C", "C"),
        ("It could be B.\n\nC", "C"),
        ("Answer: A. Wait.\nAnswer: C", "C"),
        ("A. x\nB. y\nC. z\nD. w", None),
        ("A, B, C, D", None),
        ("A/B", None),
        ("(A) or (B)", None),
        ("A) foo or B) bar", None),
        ("Answer: A or B", None),
        ("Answer: A, B", None),
        ("answer is A. The answer is B.", None),
        ("\\boxed{A}\\boxed{B}", None),
        ("\\boxed{A, B}", None),
        ("Answer: A\nAnswer: B\nAnswer: C\nAnswer: D", None),
        ("The answer is not B", None),
        ("The incorrect answer is B", None),
        ("The answer is A good one", None),
        ("A good answer begins so", None),
        ("Answer: I think so", None),
        ("Answer: G", None),
        ("Answer: b", None),
        ("Answer: С", None),  # Cyrillic
        ("Answer: Ｃ", None),
        ("Some text with C and D in it", None),
        ("", None),
    ],
)
def test_letters(text: str, letter: str | None) -> None:
    assert choice_letter(text, 4) == letter


@pytest.mark.parametrize(
    "piece",
    [
        "\\boxed{",
        "\\boxed{}",
        "\\boxed{1} ",
        "\\boxed ",
        "{",
        "}",
        "answer",
        "answer:",
        "answer is ",
        "final answer is $",
        "####",
        "#### 1\n",
        "#### 1",
        " ",
        "$",
        "\\(",
        "answer: \\(",
        "Q",
        "\n\n",
        "A",
        "A.",
        "(A) or ",
        "Answer: A\n",
        "1,",
        "\\",
        "*",
        "answer is $$",
        "****",
        "or ",
    ],
)
def test_a_megabyte_takes_no_time(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    started = time.process_time()
    short = text[:200_000]
    for whole in (text, "The final answer is " + short, "\\boxed{" + short + "}", "\\boxed{5}" + short):
        final_answer(whole)
        choice_letter(whole, 4)
        last_boxed(whole)
        number(whole)
    assert time.process_time() - started < 40


@given(st.text(alphabet="\\boxed{}$ answerisA:.,#1or\n*()\ud800"))
def test_any_text_is_read_without_error(text: str) -> None:
    final_answer(text)
    choice_letter(text, 4)
    number(text)


@given(st.integers(-(10**12), 10**12), st.integers(0, 999))
def test_numbers_are_exact(whole: int, thousandths: int) -> None:
    sign = -1 if whole < 0 else 1
    assert number(f"{whole:,}.{thousandths:03d}") == whole + sign * Fraction(thousandths, 1000)
