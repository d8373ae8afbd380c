"""One door to all verifiers: opens the sandbox when the first check wants one, and never raises for an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from sandboxes.check import Answer, Check
from sandboxes.errors import SandboxUnavailable
from sandboxes.languages import LANGUAGES
from sandboxes.sandbox import Sandbox
from sandboxes.verdict import Verdict
from sandboxes.verifiers import NEEDS_SANDBOX, verifier_for
from sandboxes.verifiers.base import Verifier

if TYPE_CHECKING:
    from sandboxes.verifiers.judging import JudgeModel


class Judges(Protocol):
    """Whatever judges answers: `Verifiers` on this machine, or those of a cluster."""

    async def verify(self, check: Check, answer: Answer) -> Verdict:
        """Judge one answer; see `Verifiers.verify`."""
        ...

    async def verify_twice(self, check: Check, answer: Answer) -> Verdict:
        """`verify`, and once more where it could not be judged."""
        ...

    async def ready(self) -> object:
        """Have what runs code at hand; raises where there is none."""
        ...

    async def close(self) -> None:
        """End what was opened here."""
        ...


class Verifiers:
    """Verifiers of every kind over one sandbox. An async context manager; closes only the sandbox it opened."""

    def __init__(
        self,
        open_sandbox: Callable[[], Awaitable[Sandbox]] | None = None,
        *,
        sandbox: Sandbox | None = None,
        judge: JudgeModel | None = None,
    ) -> None:
        """Starts nothing.

        Args:
            open_sandbox: Opens one; called at most once, when the first check needs it.
            sandbox: One that is open already, and stays its owner's.
            judge: Decides what only a model can; stays its owner's.
        """
        self._judge = judge
        self._open = open_sandbox
        self._sandbox = sandbox
        self._owned = False
        self._opening = asyncio.Lock()
        self._made: dict[str, Verifier[Any]] = {}

    @property
    def sandbox(self) -> Sandbox | None:
        """The sandbox, if one is open."""
        return self._sandbox

    async def verify(self, check: Check, answer: Answer) -> Verdict:
        """Judge one answer.

        Raises:
            SandboxUnavailable: No sandbox can be had here at all (as `open_sandbox` says), which no answer changes.
            SandboxError: It cannot be started.
        """
        verifier = self._made.get(check.kind)
        if verifier is None:
            if check.kind in NEEDS_SANDBOX:
                await self.ready()
            verifier = self._made[check.kind] = verifier_for(check.kind, self._sandbox, self._judge)
        return await verifier.verify(check, answer)

    async def verify_twice(self, check: Check, answer: Answer) -> Verdict:
        """`verify`, and once more where it could not be judged: what failed was ours, and may have passed."""
        verdict = await self.verify(check, answer)
        return await self.verify(check, answer) if verdict.passed is None else verdict

    async def ready(self) -> Sandbox:
        """Open the sandbox now, if it is not open; raises what `open_sandbox` raises."""
        async with self._opening:
            if self._sandbox is None:
                if self._open is None:
                    raise ValueError("neither a sandbox nor a way to open one was given")
                self._sandbox = await self._open()
                self._owned = True
            return self._sandbox

    async def close(self) -> None:
        """Close the sandbox that was opened here."""
        if self._owned and self._sandbox is not None:
            sandbox, self._sandbox, self._owned = self._sandbox, None, False
            self._made.clear()
            await sandbox.close()

    async def __aenter__(self) -> Verifiers:
        """Nothing to do yet."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close."""
        await asyncio.shield(self.close())


async def require_languages(sandbox: Sandbox, checks: Iterable[Check]) -> None:
    """See that the tools of every language, and the images, which these checks name are at hand, before anybody waits.

    Raises:
        SandboxUnavailable: Some are not; names them, each with its mend.
    """
    known = list(checks)
    images = [check.image for check in known if check.kind == "instance"]
    if images:
        from sandboxes.instances import Instances

        await Instances().require(images)
    missing: dict[str, SandboxUnavailable] = {}
    for name in dict.fromkeys(check.language for check in known if check.kind in NEEDS_SANDBOX):
        if name == "python":
            continue  # what the sandbox was opened with
        try:
            await sandbox.require(LANGUAGES[name])
        except SandboxUnavailable as error:
            missing[str(error)] = error
    if missing:
        raise SandboxUnavailable(
            ", and ".join(dict.fromkeys(error.what for error in missing.values())),
            "; ".join(dict.fromkeys(error.mend for error in missing.values())),
        )
