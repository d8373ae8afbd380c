"""Whatever an answer is, it is put together with the tests without an error of ours."""

from __future__ import annotations

import importlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandboxes.joined import join, refused
from sandboxes.languages import named
from tests.redteam.test_joined_programs import ATTACKS, MODULES

PIECES = st.sampled_from(
    [
        "class X {",
        "}",
        "{",
        "(",
        ")",
        "import a;",
        "import (",
        '"',
        "'",
        "/*",
        "*/",
        "//",
        "`",
        "\n",
        "f",
        "main(",
        "var",
        "<?php",
        "\ud800",
    ]
)


@pytest.mark.parametrize("language", ATTACKS)
@settings(max_examples=60, deadline=None)
@given(code=st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=20).map(" ".join)))
def test_any_text_is_joined(language: str, code: str) -> None:
    tongue, tests = named(language), ATTACKS[language].tests
    if not refused(tongue, code, tests):
        assert join(tongue, code, tests) == join(tongue, code, tests)  # builds are kept by content


def test_every_module_has_its_attacks() -> None:
    assert all(importlib.import_module(f"tests.redteam.programs.{module}").LANGUAGES for module in MODULES)


def test_rust_tests_are_found_behind_comments_and_not_in_them() -> None:
    tests = "#[test]\n// why\nfn one() { f(); }\n// #[test] fn two() {}\n#[test] fn three(s: &'static str) {}\n"
    made = join(named("rust"), "fn f() {}", tests).files["tests.rs"].decode()
    assert made.rstrip().endswith("pub fn run() { t::one(); t::three();  }")
