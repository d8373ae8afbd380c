"""Values in a few characters, for messages. Never a full `repr`: gold has ints whose digits take twelve seconds."""

from __future__ import annotations

from typing import Any

from sandboxes.runtime.handles import Handle

ITEMS = 12

_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    dict: ("{", "}"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}


def brief(value: Any, room: int = 240, depth: int = 4) -> str:
    """A text like `repr`'s, cut to about `room` characters."""
    text = _brief(value, depth)
    return text if len(text) <= room else text[: room - 1] + "…"


def _brief(value: Any, depth: int) -> str:
    kind = type(value)
    if kind is Handle:
        return "<an object of the candidate's>"
    if kind is int and value.bit_length() > 200:
        return f"<an int of {value.bit_length()} bits>"
    if kind in (str, bytes, bytearray):
        return repr(value if len(value) <= 200 else value[:200]) + (
            "" if len(value) <= 200 else f"… ({len(value)} long)"
        )
    if kind in (list, tuple, set, frozenset, dict) and value:
        if depth == 0:
            return f"<{kind.__name__} of {len(value)}>"
        shown = []
        for i, item in enumerate(value):
            if i == ITEMS:
                shown.append(f"… ({len(value)} in all)")
                break
            text = _brief(item, depth - 1)
            shown.append(f"{text}: {_brief(value[item], depth - 1)}" if kind is dict else text)
        left, right = _BRACKETS[kind]
        comma = "," if kind is tuple and len(value) == 1 else ""
        return f"{left}{', '.join(shown)}{comma}{right}"
    if kind in (list, tuple, set, frozenset, dict, bool, int, float, complex, type(None), range):
        return repr(value)
    if hasattr(value, "__len__"):
        return f"{kind.__name__} of {len(value)}"
    return repr(value)[:200] if kind.__module__ in ("decimal", "fractions", "datetime") else f"<{kind.__name__}>"
