"""The command line: one file a verb, imported when the verb is called."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    raise SystemExit("mellum-eval: no verbs yet")
