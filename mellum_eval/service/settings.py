"""What the service allows, and the error that a request ends in."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Bounds of one service.

    Attributes:
        token: What clients must show; without one, only requests that name a loopback host are answered.
        queue: Jobs under way or waiting, over all requests; more are refused at once.
        max_body_mb: Largest request body, MiB.
        max_cpu_s: Most CPU seconds that a job may ask for.
        max_wall_s: Most wall seconds that a job may ask for.
        max_memory_mb: Most memory that a job may ask for, MiB.
        body_s: Seconds in which a request's body must have come, and as many for its head.
    """

    token: str | None = field(default=None, repr=False)
    queue: int = 512
    max_body_mb: int = 32
    max_cpu_s: float = 300.0
    max_wall_s: float = 1800.0
    max_memory_mb: int = 4096
    body_s: float = 60.0


class Refused(Exception):
    """A request that is not carried out: an HTTP status, one line, the field it is about."""

    def __init__(self, status: int, message: str, *, field: str | None = None, retry_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field
        self.retry_s = retry_s
