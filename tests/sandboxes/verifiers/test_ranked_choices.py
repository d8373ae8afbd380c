"""Choices ranked by log-likelihood: the rules of lm-evaluation-harness, from stored numbers."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.check import ChoiceCheck
from sandboxes.job import JobError, parse_line
from sandboxes.verdict import Outcome
from sandboxes.verifiers.choice import ChoiceVerifier

ENDINGS = ["ab", "abcd", "äöüß", "a"]
finite = st.floats(min_value=-1e4, max_value=0)


def check(**fields: object) -> ChoiceCheck:
    return ChoiceCheck.model_validate({"kind": "choice", "answer": "B", "choices": 4, **fields})


async def test_sums_decide_unless_the_check_says_characters() -> None:
    values = (-3.0, -4.0, -9.0, -5.0)
    by_sum = await ChoiceVerifier().verify(check(texts=ENDINGS), values)
    by_length = await ChoiceVerifier().verify(check(texts=ENDINGS, rank_by="characters"), values)
    assert (by_sum.passed, by_length.passed) == (False, True)
    assert dict(by_sum.parts) == dict(by_length.parts) == {"acc": 0.0, "acc_norm": 1.0, "acc_bytes": 1.0}
    assert by_sum.evidence["extracted"] == "A"
    plain = await ChoiceVerifier().verify(check(), values)
    assert (plain.passed, dict(plain.parts)) == (False, {})


async def test_bytes_and_characters_differ_beyond_ascii() -> None:
    values = (-9.0, -4.2, -4.4, -9.0)
    verdict = await ChoiceVerifier().verify(check(texts=ENDINGS, rank_by="characters"), values)
    assert dict(verdict.parts) == {"acc": 1.0, "acc_norm": 1.0, "acc_bytes": 0.0}


async def test_the_first_of_equals_counts() -> None:
    assert (await ChoiceVerifier().verify(check(), (-2.0, -1.0, -1.0, -3.0))).passed is True
    assert (await ChoiceVerifier().verify(check(), (-1.0, -1.0, -1.0, -3.0))).passed is False


@given(st.lists(finite, min_size=4, max_size=4), st.sets(st.sampled_from("ACD")))
async def test_mass_is_the_share_of_probability_on_right_choices(values: list[float], also: set[str]) -> None:
    verdict = await ChoiceVerifier().verify(check(also="".join(sorted(also)), rank_by="mass"), tuple(values))
    top = max(values)
    weights = {letter: math.exp(value - top) for letter, value in zip("ABCD", values, strict=True)}
    share = sum(weights[letter] for letter in also | {"B"}) / sum(weights.values())
    assert verdict.score == pytest.approx(share)
    assert verdict.parts["mass"] == verdict.score


@given(st.lists(finite, min_size=4, max_size=4), st.floats(min_value=-50, max_value=0))
async def test_a_constant_changes_neither_argmax_nor_mass(values: list[float], shift: float) -> None:
    rounded = [round(value, 6) for value in values]
    one = await ChoiceVerifier().verify(check(rank_by="mass"), tuple(rounded))
    other = await ChoiceVerifier().verify(check(rank_by="mass"), tuple(value + shift for value in rounded))
    assert one.score == pytest.approx(other.score, abs=1e-9)


@pytest.mark.parametrize("values", [(-1.0, -2.0, -3.0), (-1.0, float("nan"), -2.0, -3.0), ()])
async def test_numbers_that_are_no_answer_are_unparsed(values: tuple[float, ...]) -> None:
    assert (await ChoiceVerifier().verify(check(), values)).outcome is Outcome.UNPARSED


async def test_impossible_choices_are_no_crash() -> None:
    nothing = (-math.inf,) * 4
    assert (await ChoiceVerifier().verify(check(rank_by="mass"), nothing)).score == 0.0
    assert (await ChoiceVerifier().verify(check(texts=ENDINGS), (-math.inf, -1.0, -2.0, -3.0))).passed is True


async def test_text_is_judged_as_ever_and_other_right_letters_count() -> None:
    many = check(also="D", rank_by="mass")
    assert (await ChoiceVerifier().verify(many, "Answer: D")).passed is True
    assert (await ChoiceVerifier().verify(many, "Answer: C")).passed is False


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"texts": ["a"]}, "texts"),
        ({"rank_by": "characters"}, "rank_by"),
        ({"also": "Z"}, "'Z'"),
        ({"also": "b"}, "also"),
    ],
)
def test_a_malformed_check_names_its_field(fields: dict[str, object], names: str) -> None:
    with pytest.raises(ValueError, match=names):
        check(**fields)


async def test_numbers_arrive_by_a_line_of_json() -> None:
    line = {"id": "1", "kind": "choice", "answer": "B", "choices": 2, "completion": [-3, -1.5]}
    job = parse_line(json.dumps(line).encode())
    assert (await ChoiceVerifier().verify(job.check, job.answer)).passed is True  # type: ignore[arg-type]
    for wrong in ([True, -1.0], ["-1", -2], {"a": 1}):
        with pytest.raises(JobError, match="completion: a string or a list of numbers"):
            parse_line(json.dumps(line | {"completion": wrong}).encode())
