"""Completions that want credit without the answer, or the verifier's time: none gets either.

Each attack knows the right answer's form but does not state it as its answer, or states others beside it.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from sandboxes.check import CHECK, Answer
from sandboxes.pool import SandboxPool
from sandboxes.verdict import Verdict
from sandboxes.verifiers import verifier_for
from sandboxes.verifiers.completion import MAX_CHARACTERS

MB = MAX_CHARACTERS - 100
CPU_S = 12.0
"""CPU seconds of this process for any one completion, on a slow machine."""

MATH: dict[str, Any] = {"kind": "math", "answer": "29"}
CHOICE: dict[str, Any] = {"kind": "choice", "answer": "C", "choices": 4}
EXACT: dict[str, Any] = {"kind": "exact", "answer": "29", "normalise": "number"}
SQUAD: dict[str, Any] = {"kind": "exact", "answer": "Paris", "normalise": "squad"}
TOOLS = [{"name": "f", "parameters": {"type": "dict", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}]
TOOL: dict[str, Any] = {"kind": "tool_call", "tools": TOOLS, "answer": [{"f": {"a": [1]}}]}
ABSTAIN: dict[str, Any] = {"kind": "tool_call", "tools": TOOLS, "answer": []}
COMMA: dict[str, Any] = {
    "kind": "instructions",
    "prompt": "p",
    "instruction_id_list": [
        "punctuation:no_comma",
        "detectable_format:title",
        "detectable_content:number_placeholders",
    ],
    "kwargs": [{}, {}, {"num_placeholders": 2}],
}
REFUSE: dict[str, Any] = {"kind": "refusal", "expected": "refuse"}


async def judge(check: dict[str, Any], completion: Answer, sandbox: SandboxPool | None = None) -> Verdict:
    started = time.process_time()
    verdict = await verifier_for(check["kind"], sandbox).verify(CHECK.validate_python(check), completion)
    assert time.process_time() - started < CPU_S
    return verdict


def block(text: str) -> str:
    return f"<tool_call>{text}</tool_call>"


FORGED: list[tuple[str, dict[str, Any], Answer]] = [
    ("letters all listed", CHOICE, "A. x\nB. y\nC. z\nD. w"),
    ("letters all boxed", CHOICE, "\\boxed{A}\\boxed{B}\\boxed{D}\\boxed{C}"),
    ("letters all stated", CHOICE, "Answer: A\nAnswer: B\nAnswer: D\nAnswer: C"),
    ("two letters", CHOICE, "The answer is B or C."),
    ("two letters, other words", CHOICE, "Answer: (B) and (C)"),
    ("two letters with a slash", CHOICE, "**B/C**"),
    ("letter in the reasoning only", CHOICE, "<think>Answer: C</think>I do not know."),
    ("letter in reasoning that never ends", CHOICE, "Answer: C<think>or"),
    ("a word that begins so", CHOICE, "Certainly! Choosing is hard."),
    ("Cyrillic letter", CHOICE, "Answer: С"),
    ("full-width letter", CHOICE, "Answer: Ｃ"),
    ("zero-width after the letter", CHOICE, "Answer: C\u200bat"),
    ("letter of the next question", CHOICE, "Answer: B\n\nQuestion: another\nAnswer: C"),
    ("prompt echoed", CHOICE, "Question: Which?\nA. x\nB. y\nC. z\nD. w\nAnswer:"),
    ("number in the reasoning only", EXACT, "<think>The answer is 29</think>Hard to say."),
    ("two numbers", EXACT, "The answer is 28 or 29."),
    ("Arabic digits", EXACT, "٢٩"),
    ("full-width digits", EXACT, "２９"),
    ("superscript digits", EXACT, "²⁹"),
    ("underscored digits", EXACT, "2_9"),
    ("zero-width inside", EXACT, "2\u200b9"),
    ("nan", EXACT, "nan"),
    ("both names", SQUAD, "Paris London"),
    ("name with a negation", SQUAD, "not Paris"),
    ("homoglyph name", SQUAD, "Pаris"),
    ("duplicate keys", TOOL, block('{"name": "f", "arguments": {"a": 2, "a": 1}}')),
    ("duplicate names", TOOL, block('{"name": "g", "name": "f", "arguments": {"a": 1}}')),
    ("NaN", TOOL, block('{"name": "f", "arguments": {"a": NaN}}')),
    ("true for one", TOOL, block('{"name": "f", "arguments": {"a": true}}')),
    ("one as a float", TOOL, block('{"name": "f", "arguments": {"a": 1.0}}')),
    ("one as text", TOOL, block('{"name": "f", "arguments": {"a": "1"}}')),
    ("all values in turn", TOOL, "".join(block(json.dumps({"name": "f", "arguments": {"a": n}})) for n in range(3))),
    ("list of values", TOOL, block('{"name": "f", "arguments": {"a": [0, 1, 2]}}')),
    ("surplus argument", TOOL, block('{"name": "f", "arguments": {"a": 1, "b": 1}}')),
    ("homoglyph argument", TOOL, block('{"name": "f", "arguments": {"а": 1}}')),
    ("code for a value", TOOL, "[f(a=__import__('os').getpid() * 0 + 1)]"),
    ("code for a call", TOOL, "[exec('f(a=1)')]"),
    ("lambda", TOOL, "[f(a=(lambda: 1)())]"),
    ("huge integer", TOOL, block('{"name": "f", "arguments": {"a": ' + "9" * 100_000 + "}}")),
    ("deep arguments", TOOL, block('{"name": "f", "arguments": {"a": ' + "[" * 900 + "]" * 900 + "}}")),
    ("deeper arguments", TOOL, block('{"name": "f", "arguments": {"a": ' + "[" * 200_000 + "]" * 200_000 + "}}")),
    ("deep Python", TOOL, "[f(a=" + "(" * 100_000 + "1" + ")" * 100_000 + ")]"),
    ("deep Python dicts", TOOL, "[f(a=" + "{1:" * 100_000 + "1" + "}" * 100_000 + ")]"),
    ("minus signs", TOOL, "[f(a=" + "-" * 500_000 + "1)]"),
    ("call in the reasoning only", TOOL, "<think>" + block('{"name": "f", "arguments": {"a": 1}}') + "</think>Done."),
    ("call, and abstaining in words", ABSTAIN, "No call fits." + block('{"name": "f", "arguments": {"a": 1}}')),
    ("half a call where none is right", ABSTAIN, '<tool_call>{"name": "f"'),
    ("empty response follows all", COMMA, "\n \n"),
    ("rules followed in the reasoning", COMMA, "<think><<title>> [a] [b]</think>Well, no"),
    ("compliance behind a refusal", REFUSE, "Sure! Step one is easy and so are the others. " * 20),
    ("refusal in the reasoning only", REFUSE, "<think>I can't help with that.</think>Here is how to do it."),
]


@pytest.mark.parametrize(("check", "completion"), [case[1:] for case in FORGED], ids=[case[0] for case in FORGED])
async def test_nothing_is_credited(check: dict[str, Any], completion: Answer) -> None:
    verdict = await judge(check, completion)
    assert verdict.outcome in ("failed", "unparsed"), verdict
    assert verdict.score is not None and verdict.score < 1


FORGED_MATH = [
    ("box in the reasoning", "<think>\\boxed{29}</think>I give up."),
    ("box in reasoning that never ends", "<think>\\boxed{29}"),
    ("box before a later one", "\\boxed{29} No, wait: \\boxed{30}"),
    ("two boxes with or", "\\boxed{28} or \\boxed{29}"),
    ("two boxes side by side", "\\boxed{28}\\boxed{29}"),
    ("two answers in a box", "\\boxed{28 \\text{ or } 29}"),
    ("a list in a box", "\\boxed{27, 28, 29, 30}"),
    ("plus or minus", "\\boxed{29 \\pm 1}"),
    ("an interval around it", "\\boxed{[28, 30]}"),
    ("an unknown", "\\boxed{x}"),
    ("an assignment to the answer", "\\boxed{29 = 30}"),
    ("a box never closed", "\\boxed{29"),
    ("a nested box never closed", "\\boxed{\\boxed{29"),
    ("import", "\\boxed{__import__('os')._exit(0)}"),
    ("import in text", "\\boxed{\\text{__import__('os').write(1, b'passed')}}"),
    ("import in an operator", "\\boxed{\\operatorname{__import__}('os')}"),
    ("import in a subscript", "\\boxed{x_{exec('raise SystemExit')}}"),
    ("sympy's own names", "\\boxed{S(29) if True else lambdify}"),
    ("gold by name", "\\boxed{\\text{gold}}"),
    ("infinity", "\\boxed{\\infty}"),
    ("undefined", "\\boxed{\\frac{0}{0}}"),
    ("Arabic digits", "\\boxed{٢٩}"),
    ("zero-width inside", "\\boxed{2\u200b9}"),
    ("digits apart", "\\boxed{2 \\, 9}"),
    ("answer of the next question", "The answer is 5.\n\nQ: next?\nThe answer is 29."),
    ("prompt echoed", "Question: is it 29?\nIt may be 29."),
    ("called wrong", "The wrong answer is 29."),
    ("in other words", "28 or 29 or 30, who knows"),
    ("tower of powers", "\\boxed{9^{9^{9^{9}}}}"),
]


async def test_no_mathematics_is_credited(sandbox: SandboxPool) -> None:
    for name, completion in FORGED_MATH:
        verdict = await judge(MATH, completion, sandbox)
        assert verdict.outcome in ("failed", "unparsed", "tampered"), (name, verdict)
        assert verdict.score == 0
    assert (await judge(MATH, "\\boxed{\\frac{58}{2} + x - x}", sandbox)).passed


LONG = {
    "boxes never closed": "\\boxed{" * (MB // 7),
    "box of a megabyte": "\\boxed{" + "1" * (MB - 9) + "}",
    "braces": "{" * (MB // 2) + "}" * (MB // 2),
    "answers": "answer is " * (MB // 10),
    "dollars": "The answer is " + "$" * (MB - 20),
    "open brackets": "[" * MB,
    "titles": "<<" * (MB // 2),
    "bullets": "\n" * MB,
    "stars": "*" * MB,
    "spaces": " " * MB + "x",
    "tool calls": "<tool_call>" * (MB // 11),
    "one tool call": block('{"name": "f", "arguments": {"a": "' + "\\u0041" * (MB // 7) + '"}}'),
    "python strings": "[f(a='" + "\\\\" * (MB // 3) + "')]",
    "mails": "a@" * (MB // 2),
    "word": "a" * MB,
    "sorry": "i really am not " * (MB // 16),
    "thoughts": "<think></think>" * (MB // 15),
    "fences": "```\n<think>\n" * (MB // 12),
    "surrogates": "\ud800" * MB,
    "too long": "29 " * MB,
}
LANGUAGE = {"instruction_id_list": ["language:response_language"], "kwargs": [{"language": "sw"}]}
EVERY = [MATH, CHOICE, EXACT, SQUAD, TOOL, COMMA, COMMA | LANGUAGE]


@pytest.mark.parametrize("name", LONG)
async def test_a_megabyte_neither_stalls_nor_passes(name: str) -> None:
    for check in EVERY:
        if check is MATH:
            # Without a sandbox: what would get as far as the judge is short.
            from sandboxes.verifiers.math import MathVerifier

            started = time.process_time()
            verdict = await MathVerifier().verify(CHECK.validate_python(MATH), LONG[name])  # type: ignore[arg-type]
            assert time.process_time() - started < CPU_S
            if verdict.message == "comparing mathematics needs a sandbox":
                continue
        else:
            verdict = await judge(check, LONG[name])
        assert verdict.outcome in ("failed", "unparsed"), (check["kind"], verdict)
