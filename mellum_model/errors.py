"""The model's errors. All are `ValueError`s: each says in one line which file, key or length is wrong."""

from __future__ import annotations


class ModelError(ValueError):
    """Bad input to the model."""


class ConfigError(ModelError):
    """A configuration that cannot be meant, or that this package cannot compute."""


class CheckpointError(ModelError):
    """A checkpoint that is incomplete, damaged, or not of the model that its configuration describes."""


class PromptError(ModelError):
    """A prompt that is empty, too long for the context, or holds ids outside the vocabulary."""
