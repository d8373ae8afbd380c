"""Hostile text cannot leave its cell, its string or its line, in any form of output."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.text import clip, csv_cell, latex, markdown, script_json

ANY = st.text(st.characters(codec=None) | st.sampled_from("<>&|`*_[]()!@=+-\t\r\n\\\u202e\u2028\x00\x1b\ud800"))


def unseen(text: str) -> list[str]:
    return [c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and c not in "\n\t"]


@given(ANY)
def test_script_json_cannot_end_its_script_and_comes_back_visible(text: str) -> None:
    data = script_json([text, {text: ["x", {"b": text}]}])
    assert data.isascii()
    assert not set("<>&") & set(data)
    back = json.loads(data)
    assert not unseen(back[0])
    assert not any(unseen(key) for key in back[1])


@given(ANY)
def test_markdown_stays_in_its_cell(text: str) -> None:
    cell = markdown(text, limit=10_000)
    assert "\n" not in cell
    assert not unseen(cell)
    assert "<" not in cell
    assert "http://" not in markdown(text + "http://evil.example", 10_000)
    unescaped = cell.replace("\\\\", "")
    for mark in "|`*_[":
        assert all(unescaped[i - 1] == "\\" for i, c in enumerate(unescaped) if c == mark)


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", '"=1', "'=1", "＝1", "|cmd", "=cmd|'/c calc'!A0"],
)
def test_formulas_are_defused(text: str) -> None:
    assert csv_cell(text).startswith("'")


@given(ANY)
def test_csv_cells_stay_cells_and_never_are_formulas(text: str) -> None:
    out = io.StringIO()
    csv.writer(out).writerow([csv_cell(text), "next"])
    rows = list(csv.reader(io.StringIO(out.getvalue())))
    assert len(rows) == 1
    assert rows[0][1] == "next"
    assert not rows[0][0].startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize("value", [None, True, -1, -0.5, 1e-9])
def test_numbers_stay_numbers_in_csv(value: object) -> None:
    assert csv_cell(value) is value


@given(ANY, st.integers(30, 200))
def test_clip_keeps_both_ends(text: str, limit: int) -> None:
    short = clip(text, limit)
    assert len(short) <= limit + 60
    assert short == text or (short[:10] == text[:10] and short[-5:] == text[-5:] and "left out" in short)


@given(ANY)
def test_latex_holds_no_command_cell_end_or_comment_of_its_own(text: str) -> None:
    line = latex(text, 10_000)
    assert "\n" not in line
    assert not unseen(line)
    ours = re.compile(r"\\(?:text[a-z]+\{\}|[{}$&#_%])|\{-\}")
    rest = ours.sub("", line)
    assert not set("\\{}$&#_%~^") & set(rest)
