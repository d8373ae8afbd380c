"""BFCL's wordings of a prompt: each form of calls is read strictly, and how far the wordings lie apart."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from mellum_eval.cli import _run
from sandboxes.check import CHECK, ToolCallCheck
from sandboxes.verifiers.tool_call import ToolCallVerifier
from sandboxes.verifiers.tool_text import Call, MalformedCall
from suites import registry
from suites.problem import Problem
from suites.suite import Suite
from suites.tools.written_calls import FORMS, read, write

pytestmark = pytest.mark.usefixtures("data_dir", "bfcl_wheel")
CALLS = [Call("a.b", {"n": 1, "x": -0.5, "s": "<&\"'>\nx", "l": [1, "é"], "t": True, "none": None}), Call("c", {})]


@cache
def problems() -> tuple[Suite, tuple[Problem, ...]]:
    suite = registry.get("bfcl_format_sensitivity")
    return suite, tuple(suite.problems())


def test_there_are_26_wordings_of_200_tasks() -> None:
    _, found = problems()
    assert len({problem.id for problem in found}) == len(found) == 5200
    assert len({problem.cluster for problem in found}) == 200
    assert len({problem.metadata["wording"] for problem in found}) == 26


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


def test_a_run_says_how_far_and_its_report_believes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Few problems a wording, so that the interval would reach below 0."""
    given = ["run", "mock:mixed", "-s", "bfcl_format_sensitivity", "--limit", "520", "--out", str(tmp_path / "r")]
    assert _run(given) == 0
    assert "altered" not in capsys.readouterr().err
    metrics = json.loads((tmp_path / "r" / "scores.json").read_text())["suites"]["bfcl_format_sensitivity"]["metrics"]
    assert metrics["accuracy[max_delta]"]["ci95"][0] == 0.0 < metrics["accuracy[max_delta]"]["value"] < 1.0
    assert 0.0 < metrics["accuracy[std]"]["value"] < metrics["accuracy[max_delta]"]["value"]
