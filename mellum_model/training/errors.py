"""Training's errors: each is one line that names the file, field or step and the mend. All are `ModelError`s."""

from __future__ import annotations

from ..errors import ModelError


class RecipeError(ModelError):
    """A recipe with an unknown field, a missing one, or values that contradict each other."""


class DataError(ModelError):
    """A shard that cannot be read, a source without samples, a data state that is of another recipe."""


class TrainingStopped(ModelError):
    """Training cannot go on (a loss that is not finite, a disk that is full); the last checkpoint is intact."""
