"""MathVerifier's judge and its trusted-side rule for numbers, against math-verify called directly."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

from sandboxes.extract import number
from sandboxes.runtime.judge_math import judge_math
from sandboxes.verifiers.math import _quickly


def golds(data_dir: Path) -> list[str]:
    lines = (data_dir / "math500" / "test.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["answer"] for line in lines]


DIRECT = """
import json, sys
from math_verify import LatexExtractionConfig, parse, verify
configs = [LatexExtractionConfig()], None
for gold, answer in json.load(sys.stdin):
    verdicts = []
    for config in configs:
        options = {} if config is None else {"extraction_config": config}
        answers = parse("The answer is \\\\boxed{%s}." % answer, **options)
        verdicts.append(bool(verify(parse("\\\\boxed{%s}" % gold, **options), answers)))
    print(json.dumps(verdicts))
"""
"""What a user of math-verify writes, its own time limits included: LaTeX extraction, and the defaults."""


def direct(pairs: list[tuple[str, str]]) -> list[tuple[bool, bool]]:
    """In a process of its own, since `judge_math` takes `eval` from sympy in this one."""
    done = subprocess.run([sys.executable, "-c", DIRECT], input=json.dumps(pairs), text=True, stdout=-1, check=True)
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def mutated(gold: str, draw: random.Random, others: list[str]) -> list[str]:
    """Answers near the gold one: some equal, most not."""
    digits = [i for i, c in enumerate(gold) if c.isdigit()]
    made = [
        f"{gold} ",
        f"\\text{{{gold}}}",
        f"x = {gold}",
        f"{gold}\\%",
        f"-{gold}",
        f"({gold})",
        f"\\left({gold}\\right)",
    ]
    made += [gold.replace("\\frac", "\\dfrac"), gold.replace(" ", ""), f"{gold}.0", f"{gold}, {gold}", f"{gold} + 0"]
    if digits:
        at = draw.choice(digits)
        made.append(gold[:at] + str((int(gold[at]) + 1) % 10) + gold[at + 1 :])
    return [*draw.sample(made, 2), draw.choice(others)][: 1 + draw.randrange(3)]


def test_all_golds_pass(data_dir: Path) -> None:
    wrong = [gold for gold in golds(data_dir) if judge_math({"gold": gold, "answer": gold})["kind"] != "passed"]
    assert len(golds(data_dir)) == 500
    assert wrong == []


EQUAL = [
    ("x^2+2x+1", "(x+1)^2", "(1+x)(x+1)", "x(x+2)+1"),
    ("\\sin^2 x + \\cos^2 x", "1", "\\frac{2}{2}"),
    ("\\frac{1}{\\sqrt{2}}", "\\frac{\\sqrt{2}}{2}", "2^{-1/2}"),
    ("y=2x+1", "2x-y+1=0", "y - 1 = 2x"),
    ("x<3", "3>x", "(-\\infty, 3)"),
    ("\\{1,2,3\\}", "3, 2, 1", "1, 2 \\text{ and } 3"),
    ("\\binom{5}{2}", "10", "\\frac{5!}{2!3!}"),
    ("\\log_2 8", "3", "\\frac{\\ln 8}{\\ln 2}"),
    ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{bmatrix}1&2\\\\3&2^2\\end{bmatrix}"),
    ("e^{i\\pi}", "-1", "\\cos \\pi"),
    ("\\int_0^1 2x\\,dx", "1"),
    ("\\sum_{k=1}^{4} k", "10"),
    ("1234567.5", "1{,}234{,}567.5", "\\frac{2469135}{2}"),
]


def test_mutated_golds_get_math_verifys_verdict(data_dir: Path) -> None:
    draw = random.Random(7)
    others = golds(data_dir)
    pairs = [(gold, answer) for gold in others for answer in mutated(gold, draw, others)]
    assert len(pairs) > 900
    pairs += [(gold, answer) for same in EQUAL for gold in same for answer in (*same, "x^2")]
    wrong, looser, right = [], [], 0
    for (gold, answer), (latex, default) in zip(pairs, direct(pairs), strict=True):
        ours = judge_math({"gold": gold, "answer": answer})["kind"] == "passed"
        right += ours
        if ours is not latex:
            wrong.append((gold, answer, latex))
        if ours is not default:
            looser.append((gold, answer, default))
    assert wrong == []
    assert 0.2 < right / len(pairs) < 0.8
    # With its defaults math-verify also reads plain numbers out of LaTeX that it could not read as a whole.
    assert len(looser) <= 5, looser


FORMS = [
    "{n}",
    "{n:,}",
    "{n}.0",
    "{n}.50",
    "0{n}",
    "-{n}",
    "+{n}",
    "−{n}",
    "{n}/2",
    "{n}/3",
    "\\${n}",
    ".{n}",
    "{n}.333333",
]


def test_the_numbers_rule_agrees_where_it_decides() -> None:
    draw = random.Random(3)
    decided = {}
    for _ in range(800):
        n = draw.choice([0, 1, 2, 5, 29, 100, 1234, 999999, 1000000, 123456789012])
        gold = draw.choice(FORMS).format(n=n)
        answer = draw.choice(FORMS).format(n=draw.choice([n, n, n + 1, 2 * n]))
        ours = _quickly(gold, answer)
        if ours is not None:
            decided[gold, answer] = ours
    assert len(decided) > 500
    for (pair, ours), (latex, default) in zip(decided.items(), direct(list(decided)), strict=True):
        assert ours is latex is default, pair


def test_numbers_too_close_to_call_are_left_to_math_verify() -> None:
    assert _quickly("0.333333", "1/3") is None
    assert _quickly("65", "65%") is None
    assert number("1/3") == Fraction(1, 3)
