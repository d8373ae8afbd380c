"""The code suites' own rules: what counts as a prediction, how packed tests are read, what a second attempt is told."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandboxes.check import CallsCheck, StdioCheck
from sandboxes.errors import SandboxError, SandboxUnavailable
from sandboxes.extract import fenced_blocks
from sandboxes.pool import SandboxPool
from sandboxes.splitting import candidate_names
from sandboxes.verify import Verifiers
from suites import registry
from suites.code import livecodebench
from suites.code.cruxeval import prediction, program
from suites.code.humanevalpack import LANGUAGES
from suites.code.livecodebench import LiveCodeBench, private_tests, unpickled_string
from suites.code.snippet import defines
from suites.conversation import GoOn, ModelTurn, Over
from suites.sources import SourceMissing


@pytest.mark.parametrize(
    ("text", "asked", "expected"),
    [
        ('[ANSWER]assert f("a") == [1, 2][/ANSWER]', "output", "[1, 2]"),
        ("[ANSWER]\n[1, 2]\n[/ANSWER]", "output", "[1, 2]"),
        ("thinking [ANSWER]1[/ANSWER] no, [ANSWER]\n```python\nassert f(3) == '=='\n```\n[/ANSWER]", "output", "'=='"),
        ("[ANSWER]assert f('==', 2) == 3[/ANSWER]", "input", "f('==', 2)"),
        ("assert f(2) == {'a': (1,)}", "output", "{'a': (1,)}"),
        ("[ANSWER]assert f(1) == 2 == 2[/ANSWER]", "output", "f(1) == 2 == 2"),
        ("", "output", ""),
    ],
)
def test_a_prediction_is_the_side_of_the_assertion_that_was_asked(text: str, asked: str, expected: str) -> None:
    assert prediction(text, asked) == expected


CODE = "known = [1]\ndef f(x):\n    return [x]\n"


@pytest.mark.parametrize(
    "predicted",
    [
        "f(1)",
        "f( 1 )",
        "(f)(1)",
        "[f(1)][0]",
        "(lambda: 0).__globals__",
        "(g := 1)",
        "__import__('os')",
        "open('/etc/passwd')",
        "1)\nimport os\n(1",
        "''.__class__",
        "known",
        "not an expression",
        "(" * 5000 + ")" * 5000,
        "1" + "+1" * 9000,
    ],
)
def test_a_predicted_output_is_a_plain_value_without_the_function(predicted: str) -> None:
    assert program(predicted, None) == ""


@pytest.mark.parametrize("predicted", ["[1, 2]", "{'a': 1.5}", "set()", "'x' * 3", "[n for n in range(3)]", "-1"])
def test_a_plain_value_is_a_prediction(predicted: str) -> None:
    assert predicted.split("(")[0][:2].strip("[{") in program(predicted, None)


@pytest.mark.parametrize(
    ("predicted", "counts"),
    [
        ("f(1)", True),
        ("f(known[:], x=lambda y: y < 2)", True),
        ("f(f)", False),
        ("[1]", False),
        ("(f(1) and 0) or [1]", False),
        ("f((known := 3))", False),
        ("f(globals())", False),
        ("f.__code__", False),
    ],
)
def test_a_predicted_input_is_a_call_of_the_function_on_plain_values(predicted: str, counts: bool) -> None:
    assert bool(program(predicted, CODE)) is counts


async def test_predictions_are_judged_by_value(pool: SandboxPool) -> None:
    async with Verifiers(sandbox=pool) as verifiers:
        for asked, right, wrong in (
            (
                "output",
                ["[3, 6]", "[n * 3 for n in (1, 2)]", "[3.0, 6]"],
                ["[3]", "(3, 6)", "f([1, 2])", "", "[3, 6.1]"],
            ),
            ("input", ["f([1, 2])", "f((1, 2, -1))"], ["f([2])", "[3, 6]", "f()", "f([1, 2]) or [3, 6]"]),
        ):
            check = CallsCheck(kind="calls", entry_point="answer", calls=[[]], expected_py="[[3, 6]]", atol=0.0)
            code = "def f(xs):\n    return [x * 3 for x in xs if x > 0]\n" if asked == "input" else None
            for predicted in right:
                assert (await verifiers.verify(check, program(predicted, code))).passed, predicted
            for predicted in wrong:
                assert (await verifiers.verify(check, program(predicted, code))).passed is False, predicted


def pickled(text: str) -> bytes:
    data = text.encode()
    return b"\x80\x04X" + struct.pack("<I", len(data)) + data + b"\x94."


def test_packed_tests_are_read_and_nothing_of_them_is_carried_out() -> None:
    tests = [{"input": "1\n", "output": "2", "testtype": "stdin"}]
    plain = [{"input": "1\n", "output": "2"}]
    packed = base64.b64encode(zlib.compress(pickled(json.dumps(tests)))).decode()
    assert private_tests(packed) == private_tests(json.dumps(tests)) == plain
    assert unpickled_string(pickled("é")) == "é"
    for hostile in (
        b"cos\nsystem\n(S'touch /tmp/x'\ntR.",
        b"\x80\x04]X\x01\x00\x00\x00aa.",
        b"\x80\x04.",
        b"",
        b"\x80\x04X",
    ):
        with pytest.raises(ValueError, match=r"pickle|private"):
            private_tests(base64.b64encode(zlib.compress(hostile)).decode())
    for nonsense in ("!!", base64.b64encode(b"no zlib").decode()):
        with pytest.raises(ValueError, match="private tests"):
            private_tests(nonsense)


def lcb_row(number: int, date: str, **fields: Any) -> dict[str, Any]:
    packed = base64.b64encode(zlib.compress(pickled(json.dumps([{"input": "3", "output": "9"}])))).decode()
    return {
        "question_id": f"q{number}",
        "question_content": "Print the square.",
        "platform": "atcoder",
        "difficulty": "easy",
        "contest_date": f"{date}T00:00:00",
        "starter_code": "",
        "public_test_cases": json.dumps([{"input": "2\n", "output": "4\n", "testtype": "stdin"}]),
        "private_test_cases": packed,
        "metadata": "{}",
        **fields,
    }


@pytest.fixture
def lcb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starter = "class Solution:\n    def pair(self, x: int) -> List[int]:\n        "
    method = {"starter_code": starter, "metadata": json.dumps({"func_name": "pair"})}
    cases = json.dumps([{"input": "2", "output": "[2, 2]"}])
    rows = [
        lcb_row(1, "2024-07-31"),
        lcb_row(2, "2024-08-01", **method, public_test_cases=cases, private_test_cases=cases),
    ]
    (tmp_path / "livecodebench").mkdir()
    sources = []
    for source, row in zip(livecodebench.FILES, rows, strict=False):
        data = json.dumps(row).encode()
        (tmp_path / source.file).write_bytes(data)
        sources.append(replace(source, sha256=hashlib.sha256(data).hexdigest()))
    monkeypatch.setattr(livecodebench, "FILES", tuple(sources))
    monkeypatch.setenv("MELLUM_DATA_DIR", str(tmp_path))


@pytest.mark.usefixtures("lcb")
async def test_livecodebench_in_both_forms(pool: SandboxPool) -> None:
    suite = LiveCodeBench("release_v2")
    shown, (first, second) = suite.problems(), await suite.prepare(pool)
    assert [problem.id for problem in shown] == ["q1", "q2"]
    assert isinstance(shown[0].check, StdioCheck) and len(shown[0].check.cases) == 1
    assert isinstance(first.check, StdioCheck) and len(first.check.cases) == 2
    assert [p.id for p in LiveCodeBench("v2").problems()] == ["q2"]
    assert [p.id for p in await LiveCodeBench("2024-08-01_2025-02-01").prepare(pool)] == ["q2"]
    assert "class Solution" in suite.render(second, chat=True).messages[0].content
    square, pair = "print(int(input()) ** 2)", "class Solution:\n    def pair(self, x: int) -> List[int]:\n        "
    async with Verifiers(sandbox=pool) as verifiers:
        for problem, code, right in (
            (first, square, True),
            (first, "print(f' {int(input()) ** 2}.0 ')", True),
            (first, "print(4)", False),
            (second, pair + "return x, x", True),
            (second, pair + "return [x]", False),
            (second, "", False),
        ):
            verdict = await verifiers.verify(problem.check, suite.answer(problem, f"```python\n{code}\n```"))
            assert verdict.passed is right, (code, verdict)


def test_livecodebench_without_its_data_says_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELLUM_DATA_DIR", str(tmp_path))
    with pytest.raises(SourceMissing, match="livecodebench"):
        LiveCodeBench().problems()


@pytest.mark.usefixtures("data_dir")
async def test_a_second_attempt_is_told_of_the_visible_tests_alone(pool: SandboxPool) -> None:
    suite = registry.get("self_repair")
    (problem,) = await suite.prepare(pool, wanted={"HumanEval/0"})
    wrong = "```python\ndef has_close_elements(numbers, threshold):\n    return False\n```"
    talk = suite.converse(problem, pool)
    assert talk is not None
    step = await talk.step(ModelTurn(wrong))
    assert isinstance(step, GoOn)
    (told,) = step.messages
    assert "has_close_elements" not in told.content or "arguments" in told.content
    assert "expected: True" in told.content and "[1.0, 2.0, 3.9, 4.0, 5.0, 2.2]" in told.content
    end = await talk.step(ModelTurn(problem.gold or ""))
    assert isinstance(end, Over)
    talk = suite.converse(problem, pool)
    assert talk is not None
    # Right on what is shown and wrong on the rest: nothing of the rest is told, the attempt stands.
    shallow = "```python\ndef has_close_elements(numbers, t):\n    return len(numbers) < 9 and any(abs(a - b) < t "
    shallow += "for i, a in enumerate(numbers) for b in numbers[:i])\n```"
    first = await talk.step(ModelTurn(shallow))
    assert isinstance(first, Over)
    async with Verifiers(sandbox=pool) as verifiers:
        assert (await verifiers.verify(problem.check, end.answer)).passed
        verdict = await verifiers.verify(problem.check, first.answer)
        assert verdict.passed is False and verdict.parts["base"] == 1.0
    again = await (suite.converse(problem, pool) or talk).step(ModelTurn("I cannot."))
    assert isinstance(again, GoOn) and "no Python code" in again.messages[0].content
    with pytest.raises(SandboxError):
        suite.converse(problem, None)


@pytest.mark.usefixtures("data_dir")
def test_mbpp_is_answered_by_blocks_and_between_its_marks() -> None:
    suite = registry.get("mbpp")
    found = suite.problems()
    assert {problem.check.kind for problem in found} == {"asserts", "check", "program"}
    problem = found[0]
    name = problem.metadata["entry_point"]
    body = f"def {name}(s, c):\n    return s\n"
    assert suite.answer(problem, f"{body}[DONE]\nnoise") == body.strip()
    assert suite.answer(problem, f"[BEGIN]\n{body}[DONE]") == body.strip()
    assert str(suite.answer(problem, f"Sure:\n```python\n{body}```")).strip() == body.strip()
    assert suite.answer(problem, "<think>[BEGIN]def") == ""
    prompt = suite.render(problem, chat=False)
    assert prompt.text is not None and prompt.text.count("[BEGIN]") == 4 and prompt.text.count("[DONE]") == 3


@pytest.mark.usefixtures("data_dir")
@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "python"])
@pytest.mark.usefixtures("data_dir")
def test_humanevalpacks_solutions_define_the_function_that_is_looked_for(language: str) -> None:
    suite = registry.get(f"humanevalpack:{language}")
    for problem in suite.problems():
        for text in (problem.gold, *problem.wrong):
            (block,) = fenced_blocks(text or "")
            assert defines(block.code, LANGUAGES[language], problem.metadata["function"]), problem.id


def test_bigcodebench_programs_have_what_their_tests_import() -> None:
    """As in the reference, where both are one module: 20 canonical solutions use what only the tests import."""
    suite = registry.get("bigcodebench")
    problems = {problem.id: problem for problem in suite.problems()}
    for number in (36, 42, 157, 602, 623, 642, 644, 647, 717, 745, 1085):
        problem = problems[f"BigCodeBench/{number}"]
        assert not candidate_names(str(suite.answer(problem, problem.gold or ""))), number
    problem = problems["BigCodeBench/644"]
    assert str(suite.answer(problem, problem.gold or "")).startswith("import os\nimport hashlib\n")
    own = "```python\nimport os\ndef task_func(*a):\n    return os\n```"
    assert "import os" not in str(suite.answer(problem, own)).split("def task_func")[0]
    assert suite.answer(problem, "```python\ndef task_func(:\n```")  # no Python: judged as it is
    assert set(suite.wrong_gold) <= problems.keys()


@pytest.mark.usefixtures("data_dir")
async def test_bigcodebench_wants_the_libraries_of_the_tests_too(pool: SandboxPool) -> None:
    suite = registry.get("bigcodebench")
    with pytest.raises(SandboxUnavailable, match=r"no faker\).*sandbox build --libraries bigcodebench"):
        await suite.prepare(pool, wanted={"BigCodeBench/286"})  # the task itself names csv, collections and os
    if pool.engine == "docker":  # a host's Python may have it
        with pytest.raises(SandboxUnavailable, match=r"no _tkinter\)"):
            await suite.prepare(pool, wanted={"BigCodeBench/220"})  # turtle's
    await suite.prepare(pool, wanted={"BigCodeBench/644"})


@pytest.mark.usefixtures("data_dir")
@pytest.mark.parametrize("number", [642, 644, 717, 745])
async def test_bigcodebenchs_gold_passes_where_it_leans_on_its_tests(pool: SandboxPool, number: int) -> None:
    suite = registry.get("bigcodebench")
    (problem,) = [p for p in suite.problems() if p.id == f"BigCodeBench/{number}"]
    async with Verifiers(sandbox=pool) as verifiers:
        verdict = await verifiers.verify(problem.check, suite.answer(problem, problem.gold or ""))
        assert verdict.passed, verdict
