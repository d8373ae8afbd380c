"""One result against one expected value, both encoded: what the judge does, and the harness itself for small ones."""

from __future__ import annotations

from typing import Any

from sandboxes.runtime import compare
from sandboxes.runtime.codec import MAX_NODES, decode, loads
from sandboxes.runtime.handles import Handle, State, Stop
from sandboxes.runtime.show import brief


def settle(
    rule: str,
    atol: float | None,
    arguments: bytes,
    expected: bytes,
    also: list[bytes],
    result: bytes,
    max_nodes: int = MAX_NODES,
    plain: bool = False,
) -> tuple[bool, str, str]:
    """Whether the result is right, the result in brief, and the expected value in brief.

    Args:
        rule: See `sandboxes.check.Comparison`.
        atol: See `sandboxes.check.CallsCheck`.
        arguments: The call's argument list, for the rule `root`.
        expected: Trusted bytes.
        also: Trusted bytes of further right values.
        result: What the candidate sent.
        max_nodes: Values in the result at most.
        plain: Refuse library types in the result.

    Raises:
        CodecError: The result is no value.
        RecursionError: It is nested too deeply for Python's own `==`.
    """
    state = State()
    got: Any = decode(result, lambda number: Handle(number, state), max_nodes, plain)
    wanted = loads(expected)
    try:
        right = compare.accepts(
            rule, got, wanted, atol, loads(arguments) if arguments else None, tuple(loads(a) for a in also)
        )
    except Stop:  # it holds objects of the candidate's, which equal nothing
        right = False
    return right, brief(got), brief(wanted)
