"""The model package's errors as the command line says them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mellum_eval.errors import PrerequisiteMissing, UserError


@contextmanager
def model_errors() -> Iterator[None]:
    """Turn what is wrong with a model or a recipe into one line, and a missing torch into the extra that brings it.

    Raises:
        UserError: The model package refused its input.
        PrerequisiteMissing: torch or what it is read with is not installed.
    """
    try:
        from mellum_model.errors import ModelError

        yield
    except ModelError as error:
        raise UserError(str(error)) from None
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors", "tokenizers"):
            raise
        raise PrerequisiteMissing(f"{error.name} is not installed", 'pip install "mellum-eval[model]"') from None
