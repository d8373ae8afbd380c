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


Sandbox = Annotated[Which | None, typer.Option("--sandbox", help="Where code runs. [default: auto, or as the run]")]
Workers = Annotated[int | None, typer.Option("--workers", metavar="N", help="Sandbox workers. [default: one a CPU]")]
MaxInfraRate = Annotated[
    float | None,
    typer.Option("--max-infra-rate", metavar="SHARE", help="Exit 1 if more could not be judged. [default: 0.01]"),
]
Judge = Annotated[
    str | None,
    typer.Option("--judge", metavar="openai:MODEL@URL", help="Judge model. [default: rules, where there are any]"),
]
JudgeKey = Annotated[
    str | None,
    typer.Option("--judge-api-key-env", metavar="NAME", help="Variable with its key. [default: OPENAI_API_KEY]"),
]
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
