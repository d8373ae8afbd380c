"""Mathematical equality in the judge, by math-verify.

Only LaTeX is extracted, from one final box that the harness cut out: math-verify's plain-expression extraction hands
text to sympy's parser, which is Python's `eval`. So that no other road leads there either, `eval` and `exec` are taken
from the two sympy modules that use them on text before any of the candidate's arrives. Time is the process's own CPU
time: math-verify's alarms count wall seconds, and a busy machine would change verdicts.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import Any

SOFT_CPU_S = 10.0
"""CPU seconds for one side's parsing, and again for the comparison. More is `failed`, and said so."""
SHOWN = 300
_LIKELY = (r"\frac{1}{2}", r"3\sqrt{5}+x^2", r"\left(1,-2\right)", r"x \in [0,1)", r"\begin{pmatrix}1\\2\end{pmatrix}")


class Overtime(BaseException):
    """The soft limit: not an `Exception`, which sympy and math-verify swallow by the dozen."""


def warm() -> None:
    """Load everything, and let the LaTeX parser learn its tables, once for all children. Safe to call again."""
    _disarm()
    for text in _LIKELY:
        _compare(_parsed(text), _parsed(text))


def judge_math(payload: dict[str, Any]) -> dict[str, str]:
    r"""Judge one pair.

    Args:
        payload: `gold` and `answer`, both the content of a box.

    Returns:
        `kind`: `passed`, `failed`, or `broken` where the gold answer cannot be read (the check's fault); `message`; and
        `gold` and `answer` as they were understood.
    """
    _disarm()
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
    import logging

    import sympy.parsing.sympy_parser as parser
    import sympy.utilities.lambdify as lambdify

    logging.disable(logging.CRITICAL)  # a warning for every parse without its alarm
    for module in (parser, lambdify):
        module.__dict__.update(eval=_refuse, exec=_refuse)


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
