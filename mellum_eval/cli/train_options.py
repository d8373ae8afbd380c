"""Options that all verbs of `train` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
