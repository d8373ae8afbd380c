"""Kinds `check`, `asserts` and `stdio` on both engines."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from sandboxes import prefetch
from sandboxes.check import CHECK
from sandboxes.runtime.codec import loads
from sandboxes.verdict import Outcome, Verdict
from sandboxes.verifiers.stdio import differs
from sandboxes.verify import Verifiers


async def judge(verifiers: Verifiers, code: str, **fields: Any) -> Verdict:
    check = CHECK.validate_python({"limits": {"cpu_s": 3}, **fields})
    return await verifiers.verify(check, code)


@pytest.mark.timeout(600)
async def test_humaneval_gold_passes_its_own_tests(verifiers: Verifiers, data_dir: Path) -> None:
    with gzip.open(data_dir / "humaneval_plus" / "HumanEvalPlus.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    wrong = {}
    for row in rows:
        check = {"kind": "check", "entry_point": row["entry_point"], "test": row["test"], "prelude": row["prompt"]}
        verdict = await judge(verifiers, row["prompt"] + row["canonical_solution"], **check, limits={"cpu_s": 10})
        if not verdict.passed:
            wrong[row["task_id"]] = verdict
    assert len(rows) == 164
    assert not wrong


OBJECT = """
class P:
    def __init__(self, a): self.a = a
    def __eq__(self, other): return True
    def __bool__(self): return True
    def __len__(self): return 3
"""


async def test_what_a_check_may_do(verifiers: Verifiers) -> None:
    cases = [
        ("def f(x): return x + 1", "def check(candidate):\n    for i in range(9): assert candidate(i) == i + 1"),
        (
            "def f(x): raise ValueError('no')",
            "def check(c):\n    try: c(1)\n    except ValueError as e: assert 'no' in str(e)\n    else: assert False",
        ),
        (
            "class Odd(Exception): pass\ndef f(x): raise Odd",
            "def check(c):\n    try: c(1)\n    except Exception as e: assert 'Odd' in repr(e)\n    else: assert False",
        ),
        ("def f(x): x.append(4)", "def check(c):\n    xs = [1]\n    c(xs)\n    assert xs == [1, 4]"),
        ("def f(x): return map(str, x)", "def check(c):\n    assert list(c([1, 2])) == ['1', '2']"),
        ("def f(x=1, *, y): return x + y", "def check(c):\n    assert c(y=2) == 3 and c(2, y=3) == 5"),
        (
            "class Solution:\n    n = 0\n    def f(self): self.n += 1; return self.n",
            "def check(c):\n    assert [c(), c(), c()] == [1, 2, 3]",
        ),
        ("def f(x): return abs(x)", "def check(c):\n    assert sorted([-3, 1], key=c) == [1, -3]"),
        ("def f(x, kind): return isinstance(x, kind)", "def check(c):\n    assert c(1, int) and not c(1, str)"),
        ("def f(x): return helper(x)\ndef helper(x): return x", "def check(c):\n    assert c(near(1)) == 2"),
        ("def f(n): return 0 if n == 0 else 1 + f(n - 1)", "def check(c):\n    assert c(10000) == 10000"),
    ]
    for code, test in cases:
        entry = "Solution.f" if "Solution" in code else "f"
        verdict = await judge(
            verifiers, code, kind="check", entry_point=entry, test=test, prelude="def near(x): return x + 1"
        )
        assert verdict.passed, (code, verdict)


@pytest.mark.parametrize(
    "assertion",
    [
        "{c} == 1", "{c} != 1", "{c}", "not {c}", "len({c}) == 3", "{c} in [1]", "[{c}] == [1]", "{c} < 2",
        "{c}.a", "hasattr({c}, 'a') or True", "isinstance({c}, int) or True", "str({c})", "repr({c})",
        "hash({c}) or True",
        "list({c}) or True", "{c} + 1", "-{c}", "int({c})", "{c}[0]", "{c}()", "bool({c})", "any([{c}])",
        "{{1: {c}}} == {{1: 1}}", "({c},) == (1,)", "max({c}, 1)", "f'{{{c}}}'", "'%s' % {c}", "{c} or True",
        "{c} == {c}", "sorted([{c}, {c}])", "abs({c})", "round({c})", "__import__('math').isclose({c}, 1)",
        "__import__('copy').deepcopy({c})", "{c}.__class__", "{{{c}}}", "print({c}) or True",
    ],
)  # fmt: skip
async def test_no_use_of_a_handle_passes(assertion: str) -> None:
    """Without a sandbox: the judge's own loop, with the arena's answers played by hand."""
    from sandboxes.runtime import judge as judge_child
    from sandboxes.runtime import wire

    for swallow in (False, True):
        caller = judge_child.Caller(-1, -1)
        caller.ask = lambda raw: (wire.VALUE, b"H\0\0\0\0")  # type: ignore[method-assign]
        line = f"assert {assertion.format(c='c()')}"
        body = f"    try:\n        {line}\n    except BaseException: pass" if swallow else f"    {line}"
        ((kind, _, _),) = judge_child._check(caller, f"def check(c):\n{body}\n", "", "f", [], True)
        assert kind == "spoiled"
        caller.ask = lambda raw: (wire.VALUE, b"[\1\0\0\0H\0\0\0\0")  # type: ignore[method-assign]
        ((kind, _, _),) = judge_child._check(caller, "def check(c):\n    assert c() == [1]\n", "", "f", [], True)
        assert kind == "spoiled"


async def test_handles_may_be_passed_on(verifiers: Verifiers) -> None:
    code = OBJECT + "def f(p, q): return p.a + q.a\ndef g(h, x): return h(x)\ndef h(x): return x * 2\n"
    tests = [
        "assert f(P(1), P(2)) == 3",
        "assert g(h, 4) == 8",
        "assert f(*[P(1), P(5)]) == 6",
        "assert P(1) == 1",
        "assert P(1)",
    ]
    verdict = await judge(verifiers, code, kind="asserts", tests=tests)
    assert (verdict.tests_passed, verdict.outcome) == (3, Outcome.FAILED)


@pytest.mark.parametrize("error", ["1 / 0", "assert False", "raise ValueError", "import nonesuch"])
async def test_tests_that_fail_before_they_call_anything_are_the_data_sets_fault(
    verifiers: Verifiers, error: str
) -> None:
    case = f"import unittest\n{error}\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(f(1), 1)\n"
    forms: list[dict[str, Any]] = [
        {"kind": "asserts", "tests": ["assert f(1) == 1"], "setup": error},
        {"kind": "check", "entry_point": "f", "test": f"{error}\ndef check(c): assert c(1) == 1"},
        {"kind": "unittest", "test": case},
    ]
    for form in forms:
        verdict = await judge(verifiers, "def f(x): return x", **form)
        assert verdict.outcome is Outcome.INFRA_ERROR, verdict
        # A module that is nowhere sends `unittest` to the form that shares a process, whose words are others.
        missing = error.startswith("import") and form["kind"] == "unittest"
        assert (
            "cannot be run here: ModuleNotFoundError" if missing else "data set's own code fails"
        ) in verdict.message
    called = {"kind": "asserts", "tests": ["assert f(1) == 1"], "setup": "1 / f(0)"}
    assert (await judge(verifiers, "def f(x): return x", **called)).outcome is Outcome.FAILED  # the answer's doing


async def test_names_are_the_setups_then_builtins_then_the_candidates(verifiers: Verifiers) -> None:
    code = "def twice(x): return 0\ndef len(x): return 99\nset = list\ndef mine(x): return x + 1\n"
    tests = [
        "assert twice(2) == 4",
        "assert len([1]) == 1",
        "assert set([1, 1]) == {1}",
        "assert mine(K) == 8",
        "assert [mine(i) for i in (1, 2)] == [2, 3]",
    ]
    verdict = await judge(verifiers, code, kind="asserts", tests=tests, setup="K = 7\ndef twice(x): return 2 * x")
    assert verdict.passed, verdict
    verdict = await judge(verifiers, code, kind="asserts", tests=["assert absent(1) == 1", "assert mine(1) == 2"])
    assert (verdict.outcome, verdict.tests_passed) == (Outcome.RUNTIME_ERROR, 1)
    assert "NameError" in verdict.message


async def test_outcomes_of_tests(verifiers: Verifiers) -> None:
    check = "def check(c):\n    assert c(1) == 1\n    assert c(2) == 2\n"
    late = "def check(c):\n    for i in (1, 2): assert c(i) == i\n"
    cases = [
        ("def f(x): return 1", Outcome.FAILED),
        ("def f(x): return str(x)", Outcome.FAILED),
        ("def f(x", Outcome.COMPILE_ERROR),
        ("1 / 0", Outcome.RUNTIME_ERROR),
        ("g = 1", Outcome.RUNTIME_ERROR),
        ("def f(x): return 1 / (2 - x) if x == 2 else 1", Outcome.RUNTIME_ERROR),
        ("import os\ndef f(x):\n    if x == 2: os._exit(0)\n    return x", Outcome.RUNTIME_ERROR),
        ("def f(x):\n    while x == 2: pass\n    return x", Outcome.TIMEOUT),
        ("def f(x): return x if x == 1 else 'x' * 10**10", Outcome.OUT_OF_MEMORY),
        ("import os\ndef f(x):\n    os.write(4, b'\\2\\0\\0\\0R?')\n    return x", Outcome.TAMPERED),
        ("def f(x): return 'x' * (70 << 20)", Outcome.TAMPERED),
    ]
    for test in (check, late):
        for code, outcome in cases:
            verdict = await judge(verifiers, code, kind="check", entry_point="f", test=test, limits={"cpu_s": 1})
            assert verdict.outcome is outcome, (test, code, verdict)
            assert verdict.score == 0
    verdict = await judge(verifiers, "def f(x): return 7", kind="check", entry_point="f", test=check)
    assert verdict.evidence["source"] == "assert c(1) == 1"
    assert "== 1" not in verdict.message


async def test_the_first_failure_counts_even_if_a_later_call_hangs(verifiers: Verifiers) -> None:
    code = "def f(x):\n    while x == 2: pass\n    return 5"
    test = "def check(c):\n    assert c(1) == 1\n    assert c(2) == 2\n"
    verdict = await judge(verifiers, code, kind="check", entry_point="f", test=test, limits={"cpu_s": 0.5})
    assert verdict.outcome is Outcome.FAILED


async def test_broken_tests_are_our_fault(verifiers: Verifiers) -> None:
    for test in (
        "def check(c:",
        "x = 1",
        "import no_such_module\ndef check(c): pass",
        "def check(c):\n    assert eval('c(1)') == 1",
        "def check(c):\n    c(lambda: 1)",
        "def check(c):\n    from no_such_module import x",
    ):
        verdict = await judge(verifiers, "def f(x): return 1", kind="check", entry_point="f", test=test)
        assert verdict.outcome is Outcome.INFRA_ERROR, (test, verdict)


async def test_a_judge_that_overruns_on_values_is_the_candidates_doing(verifiers: Verifiers, monkeypatch: Any) -> None:
    from sandboxes.check import Limits
    from sandboxes.verifiers import tested

    monkeypatch.setattr(tested, "JUDGE_LIMITS", Limits(cpu_s=1, memory_mb=256))
    code = "def f(x): return [n * ((1 << 61) - 1) for n in range(1, 200_001)]"
    test = "def check(c):\n    assert len(set(c(1))) == 3\n"
    verdict = await judge(verifiers, code, kind="check", entry_point="f", test=test, limits={"cpu_s": 10})
    assert verdict.outcome is Outcome.TAMPERED


# -- stdio ------------------------------------------------------------------------------------------------------------

SUM = {"kind": "stdio", "cases": [{"stdin": "1 2\n", "stdout": "3\n"}, {"stdin": "5 6", "stdout": "11"}]}


async def test_programs(verifiers: Verifiers) -> None:
    right = [
        "print(sum(map(int, input().split())))",
        "import sys\nfor line in sys.stdin: print(sum(map(int, line.split())), '  \\n\\n')",
        "if __name__ == '__main__':\n    a, b = map(int, open(0).read().split())\n    print(a + b)",
        "import os\nos.write(1, str(sum(map(int, os.read(0, 99).split()))).encode())",
        "import sys\nprint(sum(map(int, input().split())))\nsys.exit()",
        "import atexit\natexit.register(lambda: print(sum(map(int, input().split()))))",
        "import threading\nthreading.Thread(target=lambda: print(sum(map(int, input().split())))).start()",
        "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'print(sum(map(int, input().split())))'])",
    ]
    for code in right:
        verdict = await judge(verifiers, code, **SUM)
        assert verdict.passed, (code, verdict)
    wrong = [
        ("print(3)", Outcome.FAILED),
        ("print(sum(map(int, input().split())))\nraise SystemExit(3)", Outcome.RUNTIME_ERROR),
        ("print(sum(map(int, input().split())))\n1 / 0", Outcome.RUNTIME_ERROR),
        ("print(", Outcome.COMPILE_ERROR),
        ("while True: pass", Outcome.TIMEOUT),
        ("while True: print('x' * 99999)", Outcome.TAMPERED),
        ("x = [0] * 10**10", Outcome.RUNTIME_ERROR),
        ("import os\nos.abort()", Outcome.RUNTIME_ERROR),
    ]
    for code, outcome in wrong:
        verdict = await judge(verifiers, code, **SUM, limits={"cpu_s": 1})
        assert verdict.outcome is outcome, (code, verdict)
        assert verdict.score is not None and verdict.score < 1
    verdict = await judge(verifiers, "print(3)", **SUM)
    assert (verdict.score, verdict.tests_passed, verdict.tests_total) == (0.5, 1, 2)


async def test_long_input_and_output(verifiers: Verifiers) -> None:
    text = "héllo 😀 \ud800 " + "x" * 300_000
    case = {"stdin": text, "stdout": text}
    verdict = await judge(verifiers, "import sys\nsys.stdout.write(sys.stdin.read())", kind="stdio", cases=[case])
    assert verdict.passed, verdict.message


async def test_all_cases_share_the_budget(verifiers: Verifiers) -> None:
    code = "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass\nprint(1)"
    cases = [{"stdin": "", "stdout": "1"}] * 10
    verdict = await judge(verifiers, code, kind="stdio", cases=cases, limits={"cpu_s": 1})
    assert verdict.outcome is Outcome.TIMEOUT
    assert 1 <= verdict.tests_passed <= 3
    assert verdict.cpu_s < 2.5
    limits = {"cpu_s": 0.2, "wall_s": 1.2}
    verdict = await judge(verifiers, "import time\ntime.sleep(99)", kind="stdio", cases=cases, limits=limits)
    assert verdict.outcome is Outcome.TIMEOUT
    assert verdict.wall_s < 5


@pytest.mark.parametrize(
    ("got", "wanted", "line"),
    [
        (b"a\nb", b"a\nb\n\n", None),
        (b"a  \r\nb\t\n", b"a\nb", None),
        (b"", b" \n", None),
        (b"a\n\nb", b"a\nb", 1),
        (b" a", b"a", 0),
        (b"a", b"a\nb", 1),
        (b"A", b"a", 0),
    ],
)
def test_outputs_are_compared_by_line(got: bytes, wanted: bytes, line: int | None) -> None:
    assert differs(got, wanted) == line


# -- prefetch ---------------------------------------------------------------------------------------------------------


def requested(requests: tuple[bytes, ...]) -> list[Any]:
    return [loads(raw)[:3] for raw in requests]


def test_prefetch_takes_what_is_certain_and_stops_there() -> None:
    test = (
        "import math\nX = 1\ndef check(candidate):\n"
        "    assert candidate(1, [2]) == candidate(-3, k='a')\n"
        "    r = set(candidate((4,)))\n"
        "    for i in range(3): pass\n"
        "    assert abs(candidate(5) - 1) < 2 and candidate(6)\n"
        "    assert candidate(7)\n"
    )
    assert requested(prefetch.of_check(test, "f")) == [
        ("f", (1, [2]), {}),
        ("f", (-3,), {"k": "a"}),
        ("f", ((4,),), {}),
        ("f", (5,), {}),
    ]
    for body in (
        "for i in x: candidate(1)",
        "candidate(X)",
        "y = lambda: candidate(1)",
        "return\n    candidate(1)",
        "candidate",
    ):
        assert prefetch.of_check(f"def check(candidate):\n    {body}\n", "f") == ()


def test_prefetch_of_asserts_leaves_setup_and_builtins_alone() -> None:
    tests = ("assert f(1) == g(2)", "assert len(f([3])) == 1", "assert f(f(4)) == 5", "assert x(1)")
    groups = prefetch.of_asserts(tests, "def g(a): return a\nimport x")
    assert [requested(group) for group in groups] == [[("f", (1,), {})], [("f", ([3],), {})], [], []]
