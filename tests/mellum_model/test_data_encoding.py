"""Documents token by token: ends, gaps, what is filtered, pieces of the long; copies and contamination."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mellum_model.chat import SPECIAL_TOKENS
from mellum_model.tokenizer import Tokenizer
from mellum_model.training.data.decontaminate import Contamination, SuiteIndex
from mellum_model.training.data.dedup import find_repeated
from mellum_model.training.data.encode import DocumentEncoder
from mellum_model.training.data.records import Record
from mellum_model.training.data.sources import Generated
from mellum_model.training.recipes import Dedup, PretrainData, Source

TOKENIZER = Tokenizer.train(["def f(x): return x + 1\n", "the cat sat on the mat. "] * 20, 320, SPECIAL_TOKENS)
END, PREFIX, SUFFIX, MIDDLE = (
    TOKENIZER.id_of(mark) for mark in ("<|endoftext|>", "<fim_prefix>", "<fim_suffix>", "<fim_middle>")
)
TEXT = "def f(x): return x + 1\nthe cat sat on the mat."


def data(fim: dict[str, Any] | None = None, unique: int = 0) -> PretrainData:
    return PretrainData.model_validate(
        {
            "sources": {
                "text": {"kind": "generator", "name": "t"},
                "code": {"kind": "generator", "name": "c", "code": True},
            },
            "phases": [{"name": "all", "share": 1.0, "mixture": {"text": 1, "code": 1}, "fim": fim}],
            "filters": {"min_unique_tokens": unique},
        }
    )


def encode(text: str, *, fim: dict[str, Any] | None = None, unique: int = 0, source: str = "code", number: int = 0,
           length: int = 256) -> Any:  # fmt: skip
    encoder = DocumentEncoder(data(fim, unique), TOKENIZER, length, seed=1)
    return encoder.encode(Record(number, {"text": text}, "here"), source, 0, 0)


def test_a_document_is_its_tokens_and_an_end() -> None:
    (example,) = encode(TEXT).examples
    assert example.ids == [*TOKENIZER.encode_plain(TEXT), END] and example.learnt is None


def test_special_tokens_in_a_document_are_plain_text() -> None:
    (example,) = encode("a <|im_end|> b <fim_middle> c").examples
    assert not set(example.ids[:-1]) & {TOKENIZER.id_of(mark) for mark in SPECIAL_TOKENS}
    assert TOKENIZER.decode(example.ids[:-1]) == "a <|im_end|> b <fim_middle> c"


def test_gaps_token_by_token() -> None:
    seen = set()
    for number in range(60):
        (example,) = encode(TEXT, fim={"rate": 1.0, "spm": 0.5}, number=number).examples
        ids = example.ids
        assert ids[-1] == END and [ids.count(mark) for mark in (PREFIX, SUFFIX, MIDDLE)] == [1, 1, 1]
        places = {mark: ids.index(mark) for mark in (PREFIX, SUFFIX, MIDDLE)}
        prefix, suffix, middle = (
            TOKENIZER.decode(ids[places[mark] + 1 : min([p for p in places.values() if p > places[mark]], default=-1)])
            for mark in (PREFIX, SUFFIX, MIDDLE)
        )
        assert prefix + middle + suffix == TEXT
        order = [mark for mark in ids if mark in places]
        assert order == ([PREFIX, SUFFIX, MIDDLE] if example.note == "psm" else [SUFFIX, PREFIX, MIDDLE])
        seen.add(example.note)
    assert seen == {"psm", "spm"}


def test_rates_of_gaps_and_of_orders() -> None:
    notes = [encode(TEXT, fim={"rate": 0.3, "spm": 0.5}, number=n).examples[0].note for n in range(2000)]
    assert sum(map(bool, notes)) == pytest.approx(600, abs=75)  # 3.6 standard deviations
    assert notes.count("spm") == pytest.approx(300, abs=65)


def test_only_code_gets_gaps_where_the_phase_says_so() -> None:
    only = {"rate": 1.0, "code_only": True}
    assert encode(TEXT, fim=only, source="code").examples[0].note
    assert not encode(TEXT, fim=only, source="text").examples[0].note


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=400), st.integers(12, 64), st.sampled_from([None, {"rate": 1.0}]))
def test_pieces_of_a_long_document_fit_and_together_are_it(text: str, length: int, fim: dict[str, Any] | None) -> None:
    found = encode(text, fim=fim, length=length)
    assert all(len(example.ids) <= length and example.ids[-1] == END for example in found.examples)
    if fim is None and text.isascii():
        assert "".join(TOKENIZER.decode(example.ids[:-1]) for example in found.examples) == text


def test_monotonous_documents_are_dropped() -> None:
    distinct = len(set(TOKENIZER.encode_plain(TEXT)))
    assert encode(TEXT, unique=distinct).examples
    dropped = encode(TEXT, unique=distinct + 1)
    assert not dropped.examples and dropped.dropped == {"monotonous": 1}


# --- copies ---


def test_copies_are_found_and_the_first_is_kept() -> None:
    story = "once there was a river and a mill by it and a miller who slept all day and worked by night alone"
    near = story.replace("alone", "long")
    other = "nothing of this has been told before by anybody in the whole world as far as I know today"
    records = [{"text": text} for text in (story, other, story, near)]
    source = Generated("g", records)
    spec = Source(kind="generator", name="g")
    exact = find_repeated({"g": source}, {"g": spec}, Dedup(exact=True))["g"]
    assert (exact.records, exact.exact, exact.near) == (4, {2}, set())
    both = find_repeated({"g": source}, {"g": spec}, Dedup(exact=True, minhash=True, threshold=0.7))["g"]
    assert (both.exact, both.near) == ({2}, {3})
    again = find_repeated({"a": source, "b": source}, {"a": spec, "b": spec}, Dedup(exact=True))
    assert again["b"].exact == {0, 1, 2, 3}


# --- contamination ---

WRITTEN = "Write a function that returns the sum of all even numbers of a list and nothing else at all"
INDEX = SuiteIndex(
    written={"humaneval_plus": {"HumanEval/1": [WRITTEN]}},
    questions={"quick_math": {"quick_math/held_out/add-1": "What is 12 + 30?"}},
)


@pytest.mark.parametrize(
    ("record", "suite"),
    [
        ({"text": f"# {WRITTEN.upper()}\npass"}, "humaneval_plus"),
        ({"text": WRITTEN.replace(" ", ", ")}, "humaneval_plus"),
        ({"text": " ".join(WRITTEN.split()[:12])}, None),
        ({"text": "User: What is 12 + 30?\nAssistant: 42"}, "quick_math"),
        ({"text": "User: What is 12 - 30?\nAssistant: -18"}, None),
        ({"text": "User: What is 12 + 301?"}, None),
        ({"text": "x", "instances": ["quick_math/train/add-9", "quick_math/held_out/add-1"]}, "quick_math"),
        ({"messages": [{"role": "user", "content": WRITTEN}]}, "humaneval_plus"),
        ({"messages": [{"role": "user", "content": "hi"}], "reasoning": "What is 12 + 30?"}, "quick_math"),
    ],
)
def test_contamination(record: dict[str, Any], suite: str | None) -> None:
    assert Contamination(INDEX, 13).found_in(record, "text") == suite
