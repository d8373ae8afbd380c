"""Values that options of several verbs take."""

from __future__ import annotations

from enum import StrEnum


class Which(StrEnum):
    """The values of --sandbox."""

    AUTO = "auto"
    DOCKER = "docker"
    LOCAL = "local"
