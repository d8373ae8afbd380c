"""The protocol every verifier keeps."""

from __future__ import annotations

from typing import Protocol, TypeVar

from sandboxes.check import Answer
from sandboxes.verdict import Verdict

CheckT = TypeVar("CheckT", contravariant=True)


class Verifier(Protocol[CheckT]):
    """Judges answers of one kind of check: graders of evaluation and rewards of training are the same objects."""

    async def verify(self, check: CheckT, answer: Answer) -> Verdict:
        """Judge one answer. Never raises for what it is or does; `SandboxError` becomes `infra_error` in here."""
        ...
