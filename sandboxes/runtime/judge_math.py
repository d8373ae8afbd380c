"""Mathematical equality in the judge, by math-verify.

Only LaTeX is extracted, from one final box that the harness cut out: math-verify's plain-expression extraction hands
text to sympy's parser, which is Python's `eval`. LaTeX gets there too, by way of its number tokens, which sympy reads
as expressions. So before any text of the candidate's arrives, sympy's parser is replaced by a reader of numbers and
names, and `eval` and `exec` are taken from the modules that compile text. Time is the process's own CPU time:
math-verify's alarms count wall seconds, and a busy machine would change verdicts.
"""

from __future__ import annotations

import re
import signal
from contextlib import contextmanager
from typing import Any

SOFT_CPU_S = 5.0
"""CPU seconds for one side's parsing, and again for the comparison. More is `failed`, and said so."""
SHOWN = 300
_DECIMAL = re.compile(r"[0-9]*\.[0-9]+|[0-9]+\.[0-9]*", re.ASCII)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_LIKELY = (
    (r"x^2+2x+1", r"(x+1)^2"),
    (r"\frac{1}{2}", r"0.4"),
    (r"3\sqrt{5}+\pi", r"\sqrt{5}\cdot 3"),
    (r"\left(1,-2\right)", r"(1, x)"),
    (r"x \in [0,1)", r"[0,2)"),
    (r"y=2x+1", r"2y=4x+3"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1\\\sin^2 x\end{pmatrix}"),
    (r"\{1,2\}", r"1, 2 \text{ or } 3"),
    (r"2i+1", r"|x| \le 3"),
)
"""Pairs that make sympy import what it imports late."""
_ready = False


class Overtime(BaseException):
    """The soft limit: not an `Exception`, which sympy and math-verify swallow by the dozen."""


def warm() -> None:
    """Load everything and let the LaTeX parser learn its tables, once for all children; then disarm sympy."""
    global _ready
    if _ready:
        return
    import logging

    import sympy.physics.units  # noqa: F401  # simplify does, and its names go through the parser

    logging.disable(logging.CRITICAL)  # a warning for every parse without its alarm
    for gold, answer in _LIKELY:
        _compare(_parsed(gold), _parsed(answer))
    _disarm()
    _ready = True


def judge_math(payload: dict[str, Any]) -> dict[str, str]:
    r"""Judge one pair.

    Args:
        payload: `gold` and `answer`, both the content of a box.

    Returns:
        `kind`: `passed`, `failed`, or `broken` where the gold answer cannot be read (the check's fault); `message`; and
        `gold` and `answer` as they were understood.
    """
    warm()
    gold: list[Any] = []
    answer: list[Any] = []
    kind, message = "failed", ""
    try:
        with _cpu_limit(SOFT_CPU_S):
            gold = _parsed(str(payload["gold"]))
    except Overtime:
        return _reply("broken", f"reading the gold answer takes over {SOFT_CPU_S:g} CPU seconds", gold, answer)
    if not gold:
        return _reply("broken", "the gold answer cannot be read", gold, answer)
    try:
        with _cpu_limit(SOFT_CPU_S):
            answer = _parsed(str(payload["answer"]))
        with _cpu_limit(SOFT_CPU_S):
            if _compare(gold, answer):
                kind = "passed"
            else:
                message = "not equal" if answer else "no mathematics in the answer"
    except Overtime:
        message = f"comparing takes over {SOFT_CPU_S:g} CPU seconds"
    except (RecursionError, MemoryError) as error:
        message = f"too large to compare ({type(error).__name__})"
    return _reply(kind, message, gold, answer)


def _parsed(text: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse

    latex = LatexExtractionConfig(boxed_match_priority=0)
    found: list[Any] = parse("\\boxed{" + text + "}", extraction_config=[latex], parsing_timeout=None)
    return found


def _compare(gold: list[Any], answer: list[Any]) -> bool:
    from math_verify import verify

    return bool(verify(gold, answer, timeout_seconds=None))


def _disarm() -> None:
    import sympy.parsing.sympy_parser as parser
    import sympy.utilities.lambdify as lambdify

    for module in (parser, lambdify):
        module.__dict__.update(eval=_refuse, exec=_refuse)
    parser.__dict__["parse_expr"] = _word


def _word(text: str, *args: Any, **kwargs: Any) -> Any:
    """In the place of sympy's `parse_expr`: what it gives for a number or a name, and an error for all else."""
    import sympy

    text = text.strip()
    if text.isascii() and text.isdigit():
        return sympy.Integer(text.lstrip("0") or "0")
    if _DECIMAL.fullmatch(text):
        return sympy.Float(text)
    if _NAME.fullmatch(text):
        known = getattr(sympy, text, None)
        return known if isinstance(known, sympy.Basic) else sympy.Symbol(text)
    raise sympy.SympifyError(f"not a number: {text[:80]!r}")


def _refuse(*args: Any, **kwargs: Any) -> Any:
    raise ValueError("text is not evaluated here")


@contextmanager
def _cpu_limit(seconds: float) -> Any:
    def expire(number: int, frame: Any) -> None:
        raise Overtime

    before = signal.signal(signal.SIGPROF, expire)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _reply(kind: str, message: str, gold: list[Any], answer: list[Any]) -> dict[str, str]:
    return {"kind": kind, "message": message, "gold": _shown(gold), "answer": _shown(answer)}


def _shown(parsed: list[Any]) -> str:
    """The text that was read: printing the expression itself may take for ever."""
    texts = [item for item in parsed if isinstance(item, str)]
    return texts[-1][:SHOWN] if texts else ""
