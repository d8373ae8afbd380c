"""Kind `calls` on both engines: what passes, what does not and why, and what a verdict tells."""

from __future__ import annotations

from typing import Any

from sandboxes.check import CHECK
from sandboxes.prepared import pack_b64
from sandboxes.runtime.codec import encode
from sandboxes.runtime.extras import Digest
from sandboxes.verdict import Outcome, Verdict
from sandboxes.verify import Verifiers

SQUARE = {"calls": [[1], [2], [3], [4]], "expected": [1, 4, 9, 16]}

HUGE = "1" + "0" * 5000
PATCHING = """
import builtins, json, struct, marshal
builtins.len = builtins.isinstance = builtins.type = None
struct.pack = marshal.dumps = json.dumps = None
def f(x): return [x * x, 'a' * 5000]
"""


async def judge(verifiers: Verifiers, code: str, **fields: Any) -> Verdict:
    check = CHECK.validate_python({"kind": "calls", "entry_point": "f", "limits": {"cpu_s": 3}, **fields})
    return await verifiers.verify(check, code)


async def test_what_passes(verifiers: Verifiers) -> None:
    big = "list(range(100_000))"
    cases: list[tuple[str, dict[str, Any]]] = [
        ("def f(x): return x * x", SQUARE),
        ("def f(x): return float(x * x)", SQUARE),
        ("import numpy as np\ndef f(x): return np.int64(x * x)", {**SQUARE, "limits": {"cpu_s": 10}}),
        ("class Solution:\n    def f(self, x): return x * x", {**SQUARE, "entry_point": "Solution.f"}),
        ("def f(x):\n    x.append(1)\n    return len(x)", {"calls": [[[0]]] * 3, "expected": [2, 2, 2]}),
        (f"def f(x): return {big}", {"calls": [[0]], "expected_py": str([list(range(100_000))])}),
        (
            f"def f(x): return [float(n) for n in {big}]",
            {"calls": [[0]], "expected_b64": pack_b64([list(range(100_000))])},
        ),
        ("def f(x): return {3: 4, 1: 2}", {"calls": [[0]], "expected_py": "[{1: 2, 3: 4}]"}),
        ("def f(x): return {'b', 'a', 'c'}", {"calls": [[0]], "expected_py": "[{'c', 'b', 'a'}]"}),
        ("def f(x): return float('nan'), [float('inf')]", {"calls": [[0]], "expected_py": "[(nan, [inf])]"}),
        (
            "from collections import Counter\ndef f(x): return Counter(x)",
            {"calls": [["aab"]], "expected": [{"a": 2, "b": 1}]},
        ),
        (
            "def f(x): return {n: str(n) for n in range(9000)}",
            {"calls": [[0]], "expected_b64": pack_b64([{n: str(n) for n in reversed(range(9000))}])},
        ),
        ("def f(n): return 0 if n == 0 else 1 + f(n - 1)", {"calls": [[20_000]], "expected": [20_000]}),
        (
            "import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)",
            {"calls": [[100_000]], "expected": [100_000]},
        ),
        (
            "def f(x): return x",
            {
                "calls_py": f"[[{HUGE}], [set()], [1+2j], [b'x'], [('\\ud800',)]]",
                "expected_py": f"[{HUGE}, set(), 1+2j, b'x', ('\\ud800',)]",
            },
        ),
        (
            "import re\ndef f(x): return re.match('a', x)",
            {"calls": [["a"], ["b"]], "expected": [True, False], "compare": "not_none"},
        ),
        ("def f(x): return [3, 1, 1]", {"calls": [[0]], "expected_py": "[(1, 3)]", "compare": "set"}),
        (
            "def f(xs): return -xs[0] / xs[1]",
            {"calls": [[[1, 2]]], "expected": [None], "compare": "root", "atol": 1e-4},
        ),
        ("def f(x): return 0", {"calls": [[1]], "expected": [6], "also_py": "[[0]]"}),
        (
            "def f(x): return ['ab'] * 100_000",
            {"calls": [[1]], "expected_b64": pack_b64([digest_of(["ab"] * 100_000)])},
        ),
        (
            PATCHING,
            {"calls": [[2]], "expected": [[4, "a" * 5000]]},
        ),
    ]
    for code, fields in cases:
        verdict = await judge(verifiers, code, **fields)
        assert verdict.passed, (code, verdict)
        assert verdict.score == 1.0
        assert verdict.isolation == "split"
        assert verdict.engine in ("docker", "local")


def digest_of(value: Any) -> Digest:
    from hashlib import sha256

    data = encode(value)
    return Digest(len(data), sha256(data).digest())


async def test_what_does_not_pass_and_why(verifiers: Verifiers) -> None:
    cases: list[tuple[str, dict[str, Any], Outcome]] = [
        ("def f(x): return x", SQUARE, Outcome.FAILED),
        ("def f(x): return str(x * x)", SQUARE, Outcome.FAILED),
        ("def f(x): return [x * x]", SQUARE, Outcome.FAILED),
        ("def f(x):\n    return", SQUARE, Outcome.FAILED),
        ("def f(x: return 1", SQUARE, Outcome.COMPILE_ERROR),
        ("x = '\0'", SQUARE, Outcome.COMPILE_ERROR),
        ("import nothing_of_that_name", SQUARE, Outcome.RUNTIME_ERROR),
        ("def g(x): return 1", SQUARE, Outcome.RUNTIME_ERROR),
        ("def f(x): return 1 / 0", SQUARE, Outcome.RUNTIME_ERROR),
        ("def f(x): return f(x)", SQUARE, Outcome.RUNTIME_ERROR),
        ("import sys\nsys.exit(0)", SQUARE, Outcome.RUNTIME_ERROR),
        ("import os\nos._exit(0)", SQUARE, Outcome.RUNTIME_ERROR),
        ("import os\ndef f(x): os._exit(0)", SQUARE, Outcome.RUNTIME_ERROR),
        ("def f(x):\n    while True: pass", {**SQUARE, "limits": {"cpu_s": 0.5}}, Outcome.TIMEOUT),
        ("def f(x): return [0] * 10**10", SQUARE, Outcome.OUT_OF_MEMORY),
        ("def f(x): return [0] * 100_001", {"calls": [[1]], "expected_b64": pack_b64([[0] * 100_000])}, Outcome.FAILED),
        (
            "def f(x): return (0,) * 100_000",
            {"calls": [[1]], "expected_b64": pack_b64([[0] * 100_000])},
            Outcome.FAILED,
        ),
        (
            "def f(x): return {'a': [object()] * 9000}",
            {"calls": [[1]], "expected_b64": pack_b64([{"a": [0] * 9000}])},
            Outcome.FAILED,
        ),
        (
            "def f(x): return ['ab'] * 100_001",
            {"calls": [[1]], "expected_b64": pack_b64([digest_of(["ab"])])},
            Outcome.FAILED,
        ),
        ("def f(x): return None", {"calls": [[1]], "expected": [True], "compare": "not_none"}, Outcome.FAILED),
        ("import os\ndef f(x):\n    os.write(4, b'\\1\\0\\0\\0?')\n    return 1", SQUARE, Outcome.TAMPERED),
        (
            "import os\ndef f(x):\n    os.write(4, b'\\6\\0\\0\\0RV\\xff\\xff\\xff\\0')\n    return 1",
            SQUARE,
            Outcome.TAMPERED,
        ),
        ("import os\ndef f(x):\n    os.write(4, b'\\xff' * 64)\n    return 1", SQUARE, Outcome.TAMPERED),
    ]
    for code, fields, outcome in cases:
        verdict = await judge(verifiers, code, **fields)
        assert verdict.outcome is outcome, (code, verdict)
        assert verdict.score is not None and verdict.score < 1
        assert verdict.message


async def test_the_judge_stands_between_us_and_large_hostile_values(verifiers: Verifiers) -> None:
    collide = "{n * ((1 << 61) - 1) for n in range(1, 12_001)}"
    cases = [
        (f"def f(x): return {collide}", {"expected_py": f"[{set(range(12_000))}]"}),
        ("def f(x): return 10 ** 1_000_000", {"expected_py": "[" + "7" * 4000 + "]"}),
        ("def f(x):\n    out = []\n    for _ in range(200_000): out = [out]\n    return out", {"expected": [[[]]]}),
        ("def f(x): return [float('nan')] * 50_000", {"expected_b64": pack_b64([[0.0] * 50_000])}),
    ]
    for code, fields in cases:
        verdict = await judge(verifiers, code, calls=[[1]], **fields, limits={"cpu_s": 10})
        assert verdict.outcome in (Outcome.FAILED, Outcome.TAMPERED), (code, verdict)


async def test_a_verdict_tells_how_far_it_came(verifiers: Verifiers) -> None:
    code = "def f(x):\n    if x == 3:\n        while True: pass\n    return x * x"
    verdict = await judge(verifiers, code, **SQUARE, groups={"base": 2, "all": 4}, limits={"cpu_s": 0.5})
    assert verdict.outcome is Outcome.TIMEOUT
    assert (verdict.tests_passed, verdict.tests_total, verdict.score) == (2, 4, 0.5)
    assert verdict.parts == {"base": 1.0, "all": 0.5}
    assert verdict.cpu_s > 0.4

    verdict = await judge(verifiers, "def f(x): return x * x + (x == 2)", **SQUARE, groups={"base": 2})
    assert (verdict.tests_passed, verdict.score) == (3, 0.75)
    assert verdict.parts == {"base": 0.5}
    assert verdict.message == "call 1: a wrong result: 5"
    assert verdict.evidence["expected"] == "4"
    assert verdict.evidence["arguments"] == "[2]"

    verdict = await judge(verifiers, "def f(x): return 5 if x == 2 else x * x", **SQUARE, stop_at_first_failure=True)
    assert verdict.outcome is Outcome.FAILED
    assert verdict.tests_passed == 1

    verdict = await judge(verifiers, "def f(x):\n    if x == 2: raise KeyError('gone')\n    return x * x", **SQUARE)
    assert verdict.outcome is Outcome.RUNTIME_ERROR
    assert "KeyError: 'gone' (line 2)" in verdict.message


async def test_the_expected_value_is_not_in_the_message(verifiers: Verifiers) -> None:
    verdict = await judge(verifiers, "def f(x): return 'no'", calls=[[1]], expected=["hidden-from-the-model"])
    assert "hidden" not in verdict.message
    assert "hidden-from-the-model" in str(verdict.evidence["expected"])


async def test_a_malformed_check_is_our_fault_and_says_where(verifiers: Verifiers) -> None:
    for fields, part in [
        ({"calls_py": "[x]", "expected": [1]}, "calls_py"),
        ({"calls": [[1]], "expected_py": "[1, 2]"}, "calls has 1 entries but expected has 2"),
        ({"calls_py": "[1]", "expected": [1]}, "calls: entry 0"),
        ({"calls": [[1]], "expected_b64": "!"}, "expected_b64"),
        ({"calls": [], "expected": []}, "calls"),
        ({"calls": [[1]], "expected": [1], "groups": {"base": 2}}, "groups.base"),
        ({"calls": [[1]], "expected": [1], "also_py": "[]"}, "also_py"),
    ]:
        verdict = await judge(verifiers, "def f(x): return 1", **fields)
        assert verdict.outcome is Outcome.INFRA_ERROR
        assert part in verdict.message
