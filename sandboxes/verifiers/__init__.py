"""Verifiers, one file a kind, shared by suites and by rewards. Loaded when a kind is first asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sandboxes.sandbox import Sandbox
from sandboxes.verifiers.base import Verifier

if TYPE_CHECKING:
    from sandboxes.verifiers.judging import JudgeModel

_CLASSES = {
    "calls": "CallsVerifier",
    "check": "CheckVerifier",
    "asserts": "AssertsVerifier",
    "unittest": "UnittestVerifier",
    "program": "ProgramVerifier",
    "repository": "RepositoryVerifier",
    "stdio": "StdioVerifier",
    "math": "MathVerifier",
    "choice": "ChoiceVerifier",
    "exact": "ExactVerifier",
    "contains": "ContainsVerifier",
    "tool_call": "ToolCallVerifier",
    "api_state": "ApiStateVerifier",
    "instructions": "InstructionsVerifier",
    "refusal": "RefusalVerifier",
    "judged": "JudgedVerifier",
    "secure_code": "SecureCodeVerifier",
    "lm_eval": "LmEvalVerifier",
    "instance": "InstanceVerifier",
}

NEEDS_SANDBOX = frozenset(
    {"calls", "check", "asserts", "unittest", "program", "repository", "stdio", "math", "api_state"}
)
"""Kinds that run something. The others work on text alone and take None for the sandbox."""

JUDGED = frozenset({"refusal", "judged"})
"""Kinds that a judge model decides, where one is given."""

JUDGED_HERE = JUDGED | {"lm_eval", "instance"}
"""Kinds that are judged on the machine of the run, where the judge model, the opened task or the images are."""


def verifier_for(kind: str, sandbox: Sandbox | None = None, judge: JudgeModel | None = None) -> Verifier[Any]:
    """A verifier of this kind.

    Args:
        kind: As in contract 3.
        sandbox: Where it runs things; required for `NEEDS_SANDBOX`.
        judge: Decides the kinds of `JUDGED`; without one their rules do, as far as they have any.

    Raises:
        KeyError: There is no such kind.
        ValueError: The kind needs a sandbox and there is none.
    """
    name = _CLASSES[kind]
    if sandbox is None and kind in NEEDS_SANDBOX:
        raise ValueError(f"checks of kind {kind} need a sandbox")
    made = getattr(importlib.import_module(f"sandboxes.verifiers.{kind}"), name)
    verifier: Verifier[Any] = made(sandbox, judge) if kind in JUDGED else made(sandbox)
    return verifier
