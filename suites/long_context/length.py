"""How long a generated prompt is: made to fit a number of tokens, counted by the model's tokenizer or estimated."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

LENGTHS = {"4k": 4_096, "8k": 8_192, "16k": 16_384, "32k": 32_768, "64k": 65_536, "128k": 131_072}
"""Variant → tokens of prompt and answer together, as RULER counts them."""

TEMPLATE_ROOM = 128
"""Tokens left free for the marks of a chat template and its system prompt."""

FULL = 0.97
"""A prompt fills at least this share of its room."""

_TRIES = 12

_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def estimated(text: str, letters_a_token: float) -> int:
    """Tokens of a text where there is no tokenizer: one for each digit and sign, and one for so many letters."""
    data = text.encode()
    signs = len(data.translate(None, _LETTERS + b" \n"))
    letters = len(data) - len(data.translate(None, _LETTERS))
    return round(letters / letters_a_token) + signs


async def fitted(
    make: Callable[[int], str], room: int, guess: int, count: Callable[[str], Awaitable[int]]
) -> tuple[str, int]:
    """The longest prompt, or nearly, that fits, and its pieces of filler.

    Args:
        make: A prompt with so many pieces of filler.
        room: Tokens it may have.
        guess: Pieces to begin with, such as the last prompt took.
        count: Tokens of a text.

    Raises:
        ValueError: Even without filler it does not fit.
    """
    pieces, best = max(1, guess), -1
    for _ in range(_TRIES):
        tokens = await count(make(pieces))
        if tokens <= room:
            best = max(best, pieces)
            if tokens >= FULL * room:
                break
        # Aimed a little low: one more try costs a whole count.
        aimed = int(pieces * room / tokens * (1 + FULL) / 2)
        pieces = max(1, aimed if aimed != pieces else pieces - 1 if tokens > room else pieces + 1)
    if best < 0:
        best = 0
        if await count(make(0)) > room:
            raise ValueError(f"a prompt without filler has more than {room} tokens")
    return make(best), best
