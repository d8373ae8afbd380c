"""Tokens that a run took, and what they cost at the prices that the user gave."""

from __future__ import annotations

from collections.abc import Mapping


def cost(usage: Mapping[str, int], price_in: float | None, price_out: float | None) -> float | None:
    """What tokens cost; None without prices.

    Args:
        usage: Token counts; those that an endpoint did not give are not in it, and not in the cost.
        price_in: Of a million prompt tokens.
        price_out: Of a million completion tokens, reasoning included.
    """
    if price_in is None and price_out is None:
        return None
    return (usage.get("prompt", 0) * (price_in or 0.0) + usage.get("completion", 0) * (price_out or 0.0)) / 1e6


def spent_line(usage: Mapping[str, int], price: float | None) -> str:
    """For people."""
    parts = [f"{usage.get('prompt', 0):,} tokens in", f"{usage.get('completion', 0):,} out"]
    thought = usage.get("reasoning", 0) + usage.get("reasoning_estimated", 0)
    if thought:
        about = "about " if usage.get("reasoning_estimated") else ""
        parts.append(f"{about}{thought:,} of them reasoning")
    if price is not None:
        parts.append(f"cost {price:.4f}")
    return ", ".join(parts)
