"""Kind `check`; see `sandboxes.verifiers.tested`."""

from sandboxes.verifiers.tested import CheckVerifier

__all__ = ["CheckVerifier"]
