"""What a job may use. Apart from the checks, since languages have limits too."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Limits(BaseModel):
    """What one job may use. CPU time decides; the wall limit only catches sleepers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu_s: float = Field(default=10.0, gt=0, le=3600)
    """CPU seconds of the whole job: all its processes, all its test cases."""
    wall_s: float = Field(default=60.0, gt=0, le=36000)
    """Wall seconds; raised to 6 x cpu_s where less is given, so that a busy machine changes no verdict."""
    memory_mb: int = Field(default=512, ge=16, le=65536)
    """MiB over the whole process tree."""

    @model_validator(mode="after")
    def _wall_is_generous(self) -> Limits:
        if self.wall_s < 6 * self.cpu_s:
            object.__setattr__(self, "wall_s", 6 * self.cpu_s)
        return self
