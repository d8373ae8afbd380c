"""Options that all verbs of `train` share, and what `--set` says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mellum_eval.errors import UserError

Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Takes what is made. [default: training/RECIPE]")
]
From = Annotated[
    Path | None, typer.Option("--from", metavar="DIR", help="Checkpoint to start from, instead of the recipe's.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in --out.")]
Steps = Annotated[int | None, typer.Option("--steps", min=1, metavar="N", help="Instead of the recipe's.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="A field of the recipe, such as batch.micro=4; repeatable."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda.")]
Board = Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard event files too.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Sizes, memory and arithmetic; nothing is trained.")]


def parsed_settings(settings: list[str]) -> dict[str, Any]:
    """`--set FIELD=VALUE` as fields and values; values are YAML.

    Raises:
        UserError: One is not of that form.
    """
    import yaml

    found: dict[str, Any] = {}
    for setting in settings:
        field, equals, value = setting.partition("=")
        if not equals or not field:
            raise UserError(f"--set {setting}: expected FIELD=VALUE, such as schedule.peak=1e-3")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(f"--set {setting}: the value is not YAML") from None
        found[field] = parsed
    return found
