"""BFCL's wordings of a prompt: the reference's to the letter, and each form of calls read strictly."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

import pytest

from sandboxes.check import CHECK, ToolCallCheck
from sandboxes.verifiers.tool_call import ToolCallVerifier
from sandboxes.verifiers.tool_text import Call, MalformedCall
from suites import registry
from suites.problem import Problem
from suites.suite import Suite
from suites.tools.bfcl_format_sensitivity import WORDINGS
from suites.tools.written_calls import FORMS, read, write

pytestmark = pytest.mark.usefixtures("data_dir", "bfcl_wheel")
PROMPTS = Path(__file__).parents[1] / "parity" / "bfcl_wordings.json"
CALLS = [Call("a.b", {"n": 1, "x": -0.5, "s": "<&\"'>\nx", "l": [1, "é"], "t": True, "none": None}), Call("c", {})]


@cache
def problems() -> tuple[Suite, tuple[Problem, ...]]:
    suite = registry.get("bfcl_format_sensitivity")
    return suite, tuple(suite.problems())


def test_prompts_are_the_references_to_the_letter() -> None:
    """Sums of all 200 prompts of each wording, recorded by tests/parity/make_bfcl_wordings.py."""
    suite, found = problems()
    assert len(found) == 5200
    sums = {wording.name: hashlib.sha256() for wording in WORDINGS}
    for problem in found:
        asked = [[turn.role, turn.content] for turn in suite.render(problem, chat=True).messages]
        sums[problem.metadata["wording"]].update(json.dumps([problem.id, asked]).encode())
    assert {name: made.hexdigest() for name, made in sums.items()} == json.loads(PROMPTS.read_text())


async def test_gold_is_right_in_its_own_form_only() -> None:
    suite, found = problems()
    verifier = ToolCallVerifier()
    for problem in found[::37]:
        assert isinstance(problem.check, ToolCallCheck)
        assert problem.gold is not None
        for text, right in ((f"<think>hm</think>{problem.gold}", True), (problem.wrong[0], False), ("", False)):
            verdict = await verifier.verify(problem.check, suite.answer(problem, text))
            assert verdict.passed is right, problem.id
            assert verdict.parts == {problem.check.part: float(right)}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tagged", [True, False])
def test_what_is_written_is_read(form: str, tagged: bool) -> None:
    text = write(CALLS, form, tagged=tagged)
    assert read(text, form, tagged=tagged) == CALLS
    assert read(f"```\n{text}\n```\n", form, tagged=tagged) == CALLS
    for other in FORMS:
        if {form, other} != {"verbose_xml", "concise_xml"} and form != other:
            with pytest.raises(MalformedCall):
                read(text, other, tagged=tagged)
    if not tagged:
        with pytest.raises(MalformedCall, match="no <TOOLCALL> tag"):
            read(text, form, tagged=True)


def verbose(value: str, kind: str) -> str:
    param = f'<param name="a" value="{value}" type="{kind}"/>'
    return f'<functions><function name="f"><params>{param}</params></function></functions>'


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("json", '[{"function": "f"}]'),
        ("json", '[{"function": 1, "parameters": {}}]'),
        ("json", "[" * 100_000),
        ("json", "[ {" * 50_000 + "} ]"),
        ("python", "f(1)"),
        ("python", "[__import__('os').system('id')]"),
        ("python", "f(a=" + "[" * 100_000),
        ("verbose_xml", "<functions><function><params/></function></functions>"),
        ("verbose_xml", verbose("x", "integer")),
        ("verbose_xml", verbose("__import__(1)", "dict")),
        ("verbose_xml", '<!DOCTYPE x [<!ENTITY e "boom">]>' + verbose("&e;", "string")),
        ("concise_xml", "<functions>" + "<a>" * 100_000 + "</a>" * 100_000 + "</functions>"),
        ("concise_xml", "<functions>" * 100_000),
        ("concise_xml", "<functions>\x00</functions>"),
    ],
)
def test_what_cannot_be_read_is_no_call(form: str, text: str) -> None:
    with pytest.raises(MalformedCall):
        read(text, form, tagged=False)


def test_tags_without_end_take_no_time() -> None:
    with pytest.raises(MalformedCall):
        read("<TOOLCALL>" * 90_000, "json", tagged=True)


def test_how_far_the_wordings_lie_apart() -> None:
    suite, _ = problems()
    found = suite.aggregate({"wording/a": [1.0] * 8 + [0.0] * 2, "wording/b": [1.0] * 5 + [0.0] * 5, "other": [1.0]})
    assert found["max_delta"] == pytest.approx((0.3, (0.016 + 0.025) ** 0.5))
    assert found["std"] == pytest.approx((0.3 / 2**0.5, (0.016 / 2 + 0.025 / 2) ** 0.5))
    assert suite.aggregate({"wording/a": [1.0]}) == {}


def test_a_check_may_name_its_part() -> None:
    check = CHECK.validate_python({"kind": "tool_call", "tools": [], "answer": [], "part": "x"})
    assert isinstance(check, ToolCallCheck)
    assert check.part == "x"
