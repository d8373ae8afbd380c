"""Mathematical equality of the final answer.

Plain numbers are compared here, exactly; everything else by math-verify, which reaches Python's `eval` through sympy
and therefore runs in the judge. The numbers' rule gives math-verify's verdict wherever it gives one (it rounds decimals
at six places, so close calls are left to it).

Answers that take too long to compare: over the judge's soft CPU limit they are `failed` (an ugly but honest expression
is no attack); where the judge itself is lost to one, it is asked to compare the gold answer with itself, and if it can
do that, the answer is `tampered`.
"""

from __future__ import annotations

from fractions import Fraction

from sandboxes.check import Answer, Limits, MathCheck
from sandboxes.extract import final_answer, last_boxed, number
from sandboxes.runtime.codec import encode
from sandboxes.sandbox import Ending, Role, Sandbox
from sandboxes.verdict import Outcome, Verdict, infra_error
from sandboxes.verifiers.attempts import JUDGE_LIMITS, Overrun, verdict_message, verdict_of
from sandboxes.verifiers.completion import answer_part, judged, shown, unparsed

MAX_ANSWER = 1000
"""Characters of a final answer; a longer one is `failed`. The longest gold answer of MATH has 163."""
_LIMITS = Limits(cpu_s=16, wall_s=JUDGE_LIMITS.wall_s, memory_mb=JUDGE_LIMITS.memory_mb)
"""Just over the judge's three soft limits: what C code inside sympy spends cannot be interrupted otherwise."""
_CLOSE = Fraction(2, 10**6)


class MathVerifier:
    """Judges the last boxed or stated answer."""

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        self._sandbox = sandbox

    async def verify(self, check: MathCheck, answer: Answer) -> Verdict:
        """Judge one completion."""
        text = answer_part(answer)
        if isinstance(text, Verdict):
            return text
        found = final_answer(text)
        if found is None:
            return unparsed("no final answer is stated")
        if len(found) > MAX_ANSWER:
            return judged(False, f"the final answer has {len(found):,} characters; at most {MAX_ANSWER:,} are judged")
        gold = _content(check.answer)
        quick = _quickly(gold, found)
        message = f"got {shown(found)}, expected {shown(gold)}"
        if quick is not None:
            return judged(quick, message, extracted=found, decided_by="numbers")
        if self._sandbox is None:
            return infra_error("comparing mathematics needs a sandbox")
        sandbox = self._sandbox
        return await verdict_of(sandbox, "split", lambda: _attempt(sandbox, gold, found, message))


async def _attempt(sandbox: Sandbox, gold: str, found: str, message: str) -> Verdict:
    outcome = Outcome.FAILED
    evidence = {"extracted": found, "decided_by": "math-verify"}
    try:
        reply, ending = await _judged(sandbox, gold, found)
    except Overrun as overrun:
        try:
            await _judged(sandbox, gold, gold)
        except Overrun:
            return infra_error(f"the gold answer {shown(gold)}: {overrun}", engine=sandbox.engine, isolation="split")
        return Verdict(Outcome.TAMPERED, 0.0, 0, 1, str(overrun), engine=sandbox.engine, isolation="split")
    if reply["kind"] == "broken":
        return infra_error(f"answer {shown(gold)}: {reply['message']}", engine=sandbox.engine, isolation="split")
    if reply["kind"] == "passed":
        outcome, message = Outcome.PASSED, ""
    elif reply["message"] != "not equal":
        message = f"{message}: {reply['message']}"
    right = outcome is Outcome.PASSED
    return Verdict(
        outcome,
        float(right),
        int(right),
        1,
        message,
        cpu_s=ending.cpu_s,
        wall_s=ending.wall_s,
        engine=sandbox.engine,
        isolation="split",
        evidence=evidence,
    )


async def _judged(sandbox: Sandbox, gold: str, found: str) -> tuple[dict[str, str], Ending]:
    # The codec carries text as UTF-8; a lone surrogate is no mathematics.
    payload = {side: text.encode("utf-8", "replace").decode() for side, text in (("gold", gold), ("answer", found))}
    async with sandbox.session(Role.JUDGE, _LIMITS) as session:
        await session.send(encode(("math", payload)))
        value = await verdict_message(sandbox, session, await session.receive())
        ending = await session.finish(kill=True)
    if not (isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("kind", "message"))):
        raise Overrun("the judge sent no verdict")
    return value, ending


def _content(gold: str) -> str:
    """A gold answer as data sets write them: bare, between dollars, or in a box."""
    boxed = last_boxed(gold)
    if boxed is not None:
        return boxed
    gold = gold.strip()
    if len(gold) > 2 and gold.startswith("$") and gold.endswith("$"):
        gold = gold.strip("$").strip()
    return gold


def _quickly(gold: str, found: str) -> bool | None:
    """The verdict where it takes no mathematics; None where it does."""
    if " ".join(gold.split()) == " ".join(found.split()):
        return True
    if "%" in gold + found or max(len(gold), len(found)) > 40:
        return None
    wanted, got = number(gold), number(found)
    if wanted is None or got is None:
        return None
    if wanted == got:
        return True
    return None if abs(wanted - got) <= _CLOSE else False
