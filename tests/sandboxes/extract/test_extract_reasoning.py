from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.extract import split


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("just an answer", "", "just an answer"),
        ("", "", ""),
        ("<think>a</think>b", "a", "b"),
        ("\n<think>\na\n</think>\n\nb", "a", "\n\n\nb"),
        ("<think>a", "a", None),
        ("The answer is 5. <think>or is it", "or is it", None),
        ("a, so it is b\n</think>\nb", "a, so it is b", "\nb"),
        ("x<think>a</think>y<think>b</think>z", "a\n\nb", "xyz"),
        ("<think>a</think>b</think>c", "a\n\nb", "c"),
        ("<think>one<think>two</think>rest", "one<think>two", "rest"),
        ("<think></think>b", "", "b"),
        ("<think>write `</think>` last</think>b", "write `</think>` last", "b"),
        ("use s.split('</think>')[-1]", "", "use s.split('</think>')[-1]"),
        ("<Think>a</Think>b", "", "<Think>a</Think>b"),
        ("<think >a</think>b", "<think >a", "b"),
    ],
)
def test_where_reasoning_ends(text: str, reasoning: str, answer: str | None) -> None:
    assert (split(text).reasoning, split(text).answer) == (reasoning, answer)


def test_an_unclosed_fence_in_the_reasoning_does_not_swallow_its_end() -> None:
    text = "<think>maybe\n```python\ndef f(): 1\n</think>\n```python\ndef f(): 2\n```"
    assert split(text).answer == "\n```python\ndef f(): 2\n```"


def test_tags_in_a_closed_fence_of_the_answer_are_code() -> None:
    code = "Here:\n```python\nTEXT = <think>x</think>\n```\nDone."
    assert split(code).answer == code
    assert split("<think>plan</think>" + code).answer == code
    assert split("```\n<think>\n```\n<think>really thinking").answer is None


def test_an_open_fence_of_the_answer_hides_no_tag() -> None:
    assert split("```python\n<think>never closed").answer is None


def test_reasoning_given_apart_comes_first() -> None:
    assert split("b", reasoning="a") == split("<think>a</think>b")
    assert split("<think>c</think>b", reasoning="a").reasoning == "a\n\nc"


@pytest.mark.parametrize(
    "piece",
    [
        "<think>",
        "</think>",
        "<think></think>",
        "```\n<think>\n",
        "```x\n<think></think>\n",
        "```x\n<think></think>\n~~~\n",
    ],
)
def test_a_megabyte_of_tags_takes_no_time(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    started = time.process_time()
    split(text)
    split("```\n" + text + "\n```\n")
    assert time.process_time() - started < 5


@given(st.lists(st.sampled_from(["<think>", "</think>", "```\n", "\n", "a", "`", "\ud800"])).map("".join))
def test_any_text_is_split_without_error(text: str) -> None:
    result = split(text)
    if result.answer is not None:
        assert len(result.reasoning) + len(result.answer) <= 2 * len(text) + 2
    if "think>" not in text:
        assert result.answer == text
