from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mellum_eval.terminal import one_line, printable

ANY_TEXT = st.text(st.characters(codec=None))


def test_escape_sequences_and_surrogates_are_shown_not_sent() -> None:
    assert printable("\x1b[31mred\x07") == "\\x1b[31mred\\x07"
    assert printable("a\ud800b") == "a\\ud800b"
    assert printable("x\u202ey") == "x\\u202ey"
    assert printable("up\rdown") == "up\\rdown"
    assert printable("\x9b2J") == "\\x9b2J"


def test_real_text_stays_as_it_is() -> None:
    for text in ("def f():\n\treturn 1", "naïve — 漢字\u3000かな", "10\u00a0km", "🙂"):
        assert printable(text) == text


@given(ANY_TEXT)
def test_nothing_that_acts_on_a_terminal_is_left(text: str) -> None:
    shown = printable(text)
    shown.encode("utf-8")
    assert all(c.isprintable() or c in "\n\t" or (c.isspace() and ord(c) >= 0xA0) for c in shown)
    assert "\n" not in one_line(text) and "\x1b" not in one_line(text)


@given(ANY_TEXT, st.integers(1, 50))
def test_one_line_keeps_to_its_limit(text: str, limit: int) -> None:
    assert len(one_line(text, limit)) <= limit
