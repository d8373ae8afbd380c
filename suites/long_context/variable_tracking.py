"""RULER's variable tracking: which names have a value, by assignments from one to the next, strewn over the text."""

from __future__ import annotations

import random

from suites.long_context.task import Instance, LongContext
from suites.long_context.wording import NOISE, different, letters
from suites.sampling import Sampling

_HOPS = 4
_EXAMPLE_PIECES = 5


class VariableTracking(LongContext):
    """One chain of four hops, after a short worked example, as RULER has it."""

    name = "ruler_variable_tracking"
    summary = "RULER: all variables that have a value by a chain of assignments"
    sampling = Sampling(max_tokens=30)
    guess = 130

    @classmethod
    def instance(cls, rng: random.Random, tokens: int) -> Instance:
        """Names and value first, then where the assignments stand."""
        names = different(lambda: letters(rng, 5, upper=True), 2 * (_HOPS + 1))
        shown, value = (str(rng.randint(10_000, 99_999)) for _ in range(2))
        (other, mine) = names[: _HOPS + 1], names[_HOPS + 1 :]
        example_depths, depths = (sorted(rng.random() for _ in range(_HOPS + 1)) for _ in range(2))
        example = (
            f"{_ask(_chain(other, shown), example_depths, _EXAMPLE_PIECES, shown)} {_prefix(shown)} {' '.join(other)}"
        )
        chain = _chain(mine, value)

        def make(pieces: int) -> str:
            return f"{example}\n\n{_ask(chain, depths, pieces, value)}"

        metadata = {"depths": [round(depth, 3) for depth in depths]}
        return Instance(tuple(mine), make, _prefix(value), chain[0], metadata)


def _chain(names: list[str], value: str) -> list[str]:
    return [f"VAR {name} = {f'VAR {names[at - 1]}' if at else value}" for at, name in enumerate(names)]


def _ask(chain: list[str], depths: list[float], pieces: int, value: str) -> str:
    text = [NOISE] * pieces
    for depth, assignment in sorted(zip(depths, chain, strict=True), reverse=True):
        text.insert(round(depth * pieces), assignment)
    # Names and values are read in the order of the chain: none is used before it is assigned.
    context = "\n".join(text)
    return (
        f"Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n{context}\n"
        f"Question: Find all variables that are assigned the value {value} in the text above."
    )


def _prefix(value: str) -> str:
    return (
        "Answer: According to the chain(s) of variable assignment in the text above, "
        f"{_HOPS + 1} variables are assigned the value {value}, they are:"
    )
