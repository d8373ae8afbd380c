"""Kind `asserts`; see `sandboxes.verifiers.tested`."""

from sandboxes.verifiers.tested import AssertsVerifier

__all__ = ["AssertsVerifier"]
