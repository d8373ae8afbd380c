"""Whether a sandbox has the Python libraries that a benchmark's tasks use."""

from __future__ import annotations

from collections.abc import Sequence

from sandboxes.check import StdioCase, StdioCheck
from sandboxes.errors import SandboxError, SandboxUnavailable
from sandboxes.sandbox import Sandbox
from sandboxes.verdict import Outcome
from sandboxes.verifiers.stdio import StdioVerifier


async def require_libraries(sandbox: Sandbox, libraries: Sequence[str], benchmark: str, mend: str) -> None:
    """Do nothing if all are there.

    Args:
        sandbox: Where to look.
        libraries: Names of modules.
        benchmark: Whose tasks need them.
        mend: What to do where they are not there.

    Raises:
        SandboxUnavailable: Some are not.
        SandboxError: It could not be found out.
    """
    if not libraries:
        return
    names = list(libraries)
    program = f"from importlib.util import find_spec\nprint(*(n for n in {names!r} if find_spec(n) is None))\n"
    case = StdioCase(stdin="", stdout="")
    verdict = await StdioVerifier(sandbox).verify(StdioCheck(kind="stdio", cases=[case]), program)
    if verdict.outcome is Outcome.INFRA_ERROR:
        raise SandboxError(verdict.message)
    if not verdict.passed:
        missing = verdict.evidence.get("got") or ", ".join(names)
        raise SandboxUnavailable(f"this sandbox has not the libraries of {benchmark} (no {missing})", mend)
