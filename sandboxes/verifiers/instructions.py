"""Instruction following, judged as IFEval and IFBench do, strictly; loose and per-instruction figures are parts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sandboxes.check import Answer, InstructionsCheck
from sandboxes.sandbox import Sandbox
from sandboxes.verdict import Outcome, Verdict, infra_error
from sandboxes.verifiers.completion import answer_part
from sandboxes.verifiers.ifbench_forms import RULES as IFBENCH_RULES
from sandboxes.verifiers.instruction_rules import RULES as IFEVAL_RULES
from sandboxes.verifiers.instruction_rules import Rule

RULES: Mapping[str, Rule] = {**IFEVAL_RULES, **IFBENCH_RULES}
PROBE = "One line. Another, (in brackets): `code`.\n\nP.S. A last one?"
_BAD = (KeyError, TypeError, ValueError, AttributeError, re.error)
"""What rules raise on arguments that they cannot use."""


class InstructionsVerifier:
    """Applies the rules. Nothing is run, so it needs no sandbox."""

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        del sandbox

    async def verify(self, check: InstructionsCheck, answer: Answer) -> Verdict:
        """Judge one completion: passed if all instructions hold, score their fraction.

        `parts` are IFEval's four figures: `prompt_strict`, `inst_strict`, `prompt_loose`, `inst_loose`. Loose means
        that some variant holds: without stars, without the first line, the last, or both.
        """
        unknown = [name for name in check.instruction_id_list if name not in RULES]
        if unknown:
            return infra_error(f"instruction_id_list: no rule {unknown[0]!r}")
        text = answer_part(answer)
        if isinstance(text, Verdict):
            return text
        strict, loose = [], []
        variants = _variants(text)
        for name, given in zip(check.instruction_id_list, check.kwargs, strict=True):
            arguments = {key: value for key, value in given.items() if value is not None}
            try:
                follows = _follows(RULES[name], text, arguments)
                strict.append(follows)
                loose.append(follows or any(_follows(RULES[name], variant, arguments) for variant in variants))
            except ImportError as error:
                return infra_error(f"{name} needs {error.name}: pip install 'mellum-eval[ifbench]'")
            except _BAD as error:
                return infra_error(f"kwargs of {name}: {_said(error)}")
        total = len(strict)
        broken = [name for name, follows in zip(check.instruction_id_list, strict, strict=True) if not follows]
        return Verdict(
            Outcome.FAILED if broken else Outcome.PASSED,
            sum(strict) / total,
            sum(strict),
            total,
            f"not followed: {', '.join(broken)}" if broken else "",
            parts={
                "prompt_strict": float(all(strict)),
                "inst_strict": sum(strict) / total,
                "prompt_loose": float(all(loose)),
                "inst_loose": sum(loose) / total,
            },
            evidence={"followed": strict, "followed_loosely": loose},
        )


def bad_arguments(name: str, given: Mapping[str, Any]) -> str:
    """What is wrong with the arguments of a rule, as far as a few words show it; '' if nothing is."""
    arguments = {key: value for key, value in given.items() if value is not None}
    try:
        _follows(RULES[name], PROBE, arguments)
    except ImportError:
        return ""  # the verdict says what is to be installed
    except _BAD as error:
        return _said(error)
    return ""


def _said(error: Exception) -> str:
    return f"no {error} for it" if isinstance(error, KeyError) else f"{type(error).__name__}: {str(error)[:200]}"


def _follows(rule: Rule, text: str, arguments: Mapping[str, Any]) -> bool:
    return bool(text.strip()) and rule(text, arguments)


def _variants(text: str) -> list[str]:
    lines = text.split("\n")
    cut = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    return list(dict.fromkeys([text.replace("*", ""), *cut, *(part.replace("*", "") for part in cut)]))
