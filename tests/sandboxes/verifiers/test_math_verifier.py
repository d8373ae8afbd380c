from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from sandboxes.check import CHECK
from sandboxes.choose import open_sandbox
from sandboxes.errors import SandboxUnavailable
from sandboxes.runtime.judge_math import judge_math
from sandboxes.verdict import Outcome, Verdict
from sandboxes.verifiers.math import MAX_ANSWER, MathVerifier


def check(answer: str) -> object:
    return CHECK.validate_python({"kind": "math", "answer": answer})


@pytest.mark.parametrize(
    ("answer", "completion", "outcome"),
    [
        ("29", "The total is $29.00. The answer is $29.00.", "passed"),
        ("29", "<think>30? \\boxed{30}</think>\\boxed{29}", "passed"),
        ("1,234", "#### 1234", "passed"),
        ("\\frac{3}{4}", "\\boxed{\\frac{3}{4}}", "passed"),
        ("$29$", "\\boxed{29}", "passed"),
        ("29", "\\boxed{30}", "failed"),
        ("29", "<think>\\boxed{29}</think>It is hard to say.", "unparsed"),
        ("29", "<think>\\boxed{29}", "unparsed"),
        ("29", "29", "unparsed"),
        ("29", "", "unparsed"),
        ("29", "\\boxed{29" + "9" * MAX_ANSWER + "}", "failed"),
        ("x+1", "\\boxed{1+x}", "infra_error"),
    ],
)
async def test_what_takes_no_sandbox(answer: str, completion: str, outcome: str) -> None:
    verdict = await MathVerifier().verify(check(answer), completion)  # type: ignore[arg-type]
    assert verdict.outcome == outcome, verdict.message
    assert verdict.engine == "none"


def test_nothing_of_the_text_is_evaluated(capfd: pytest.CaptureFixture[str]) -> None:
    for text in (
        "__import__('os').system('echo forged')",
        "\\text{__import__('os').system('echo forged')}",
        "f(__import__('os'))",
        "x_{__import__('os').system('echo forged')}",
        "\\operatorname{__import__}(\\text{'os'})",
        "\\mathrm{print}(1)",
    ):
        assert judge_math({"gold": "29", "answer": text})["kind"] == "failed"
    assert "forged" not in capfd.readouterr().out
    from sympy import SympifyError, sympify

    with pytest.raises((SympifyError, ValueError)):
        sympify("1 + 1")


def test_what_is_too_dear_to_compare_is_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    import sandboxes.runtime.judge_math as module

    monkeypatch.setattr(module, "SOFT_CPU_S", 0.3)
    monkeypatch.setattr(module, "_compare", lambda gold, answer: [0 for _ in iter(int, 1)])
    reply = judge_math({"gold": "29", "answer": "x"})
    assert (reply["kind"], "CPU" in reply["message"]) == ("failed", True)


Judge = Callable[[str, str], Awaitable[Verdict]]


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.docker), "local"])
async def judge(request: pytest.FixtureRequest) -> AsyncIterator[Judge]:
    try:
        pool = await open_sandbox(request.param, workers=1)
    except SandboxUnavailable as missing:
        if request.param == "docker" and os.environ.get("MELLUM_REQUIRE_DOCKER") != "1":
            pytest.skip(str(missing))
        raise
    async with pool:
        verifier = MathVerifier(pool)
        yield lambda answer, completion: verifier.verify(check(answer), completion)  # type: ignore[arg-type]


async def test_in_the_judge(judge: Judge) -> None:
    for answer, completion, outcome in (
        ("\\frac{1}{2}", "\\boxed{0.5}", "passed"),
        ("x^2+2x+1", "\\boxed{(x+1)^2}", "passed"),
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "\\boxed{(3, \\pi/2)}", "passed"),
        ("1,-2", "The answers are \\boxed{-2} and \\boxed{1}", "passed"),
        ("3", "\\boxed{3} or \\boxed{5}", "failed"),
        ("\\text{Evelyn}", "The answer is Evelyn.", "passed"),
        ("29", "\\boxed{__import__('os')._exit(0)}", "failed"),
        ("29", "\\boxed{\ud800}", "failed"),
    ):
        verdict = await judge(answer, completion)
        assert verdict.outcome == outcome, (answer, completion, verdict)
        assert verdict.isolation == "split"


async def test_hostile_expressions_neither_pass_nor_stall(judge: Judge) -> None:
    for text in ("9^{9^{9^{9}}}", "\\binom{10^9}{10^8}"):
        verdict = await judge("29", f"\\boxed{{{text}}}")
        assert verdict.outcome in (Outcome.FAILED, Outcome.TAMPERED, Outcome.UNPARSED), (text, verdict)
    assert (await judge("\\frac{1}{2}", "\\boxed{0.5}")).passed
