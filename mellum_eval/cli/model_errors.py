"""The model package's errors as the command line says them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import typer

from mellum_eval.errors import PrerequisiteMissing, UserError


@contextmanager
def model_errors() -> Iterator[None]:
    """Turn what is wrong with a model or a recipe into one line, and a missing torch into the extra that brings it.

    What is doubtful about one is a line as well, without Python's own surroundings.

    Raises:
        UserError: The model package refused its input.
        PrerequisiteMissing: torch or what it is read with is not installed.
    """
    try:
        from mellum_model.errors import ModelError

        with warnings.catch_warnings():
            warnings.showwarning = _say
            yield
    except ModelError as error:
        raise UserError(str(error)) from None
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors", "tokenizers"):
            raise
        raise PrerequisiteMissing(f"{error.name} is not installed", 'pip install "mellum-eval[model]"') from None


def _say(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    typer.echo(f"mellum-eval: warning: {message}", err=True)
