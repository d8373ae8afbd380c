"""The few errors of this room. A bad answer is a verdict, not an error; these are about the machinery."""

from __future__ import annotations


class SandboxError(Exception):
    """Something of ours failed while an answer was being judged: the verdict is `infra_error`, never a zero."""


class ContainerLost(SandboxError):
    """The container, or its supervisor, went away in the middle of a job. Worth another try in a fresh one."""


class EngineAway(SandboxError):
    """The engine does not answer at the moment, as while it restarts: worth waiting for."""


class SandboxUnavailable(SandboxError):
    """No sandbox can be had here. `mend` is the command that changes that."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(f"{what}; {mend}")
        self.what = what
        self.mend = mend


class LostTwice(Exception):
    """An answer took its container down twice while others pass: its own doing, `tampered`. Not a `SandboxError`."""
