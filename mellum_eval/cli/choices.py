"""Options of several verbs, and the values they take."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Which(StrEnum):
    """The values of --sandbox."""

    AUTO = "auto"
    DOCKER = "docker"
    LOCAL = "local"


Ray = Annotated[
    str | None,
    typer.Option("--ray", metavar="ADDRESS", help="Judge on the nodes of a Ray cluster; auto: the one here."),
]
