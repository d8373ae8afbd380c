"""Options of several verbs, and the values they take."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from mellum_eval.errors import UserError


class Which(StrEnum):
    """The values of --sandbox."""

    AUTO = "auto"
    DOCKER = "docker"
    LOCAL = "local"


Ray = Annotated[
    str | None,
    typer.Option("--ray", metavar="ADDRESS", help="Judge on the nodes of a Ray cluster; auto: the one here."),
]


Runtime = Annotated[
    str | None,
    typer.Option("--runtime", metavar="NAME", help="OCI runtime of the containers, such as crun or runsc (Docker)."),
]


def runtime_for(sandbox: Which | None, runtime: str | None, ray: str | None = None) -> str | None:
    """The value of --runtime.

    Raises:
        UserError: What was asked for beside it has no such thing.
    """
    if runtime is not None and sandbox is Which.LOCAL:
        raise UserError("--runtime: the local sandbox has no OCI runtime; use --sandbox docker")
    if runtime is not None and ray is not None:
        raise UserError("--runtime: each node of a cluster uses its engine's own; make it the default runtime there")
    return runtime
