"""Text of tokens as they come: whole characters only, and nothing that may turn out to be a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_BROKEN = "\ufffd"


class TextStream:
    """Decodes one request's tokens piece by piece.

    Byte-level tokens split characters, and some decoders look at neighbours; so each piece is the difference of two
    decodings that begin a few tokens back, taken once it does not end within a character.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: tuple[str, ...] = ()) -> None:
        self._decode = decode
        self._stop = stop
        self._hold = max((len(text) for text in stop), default=1) - 1
        self._ids: list[int] = []
        self._begin = self._read = 0
        self._shown = 0
        self.text = ""
        """All so far, cut before a stop string."""

    def push(self, token: int) -> bool:
        """Add a token.

        Returns:
            Whether the text now holds a stop string.
        """
        self._ids.append(token)
        old = self._decode(self._ids[self._begin : self._read])
        new = self._decode(self._ids[self._begin :])
        if new.endswith(_BROKEN) and len(self._ids) - self._read < 8:  # no character has more than four bytes
            return False
        self._begin, self._read = self._read, len(self._ids)
        return self._append(new[len(old) :])

    def _append(self, piece: str) -> bool:
        begin = max(0, len(self.text) - self._hold)
        self.text += piece
        found = [place for stop in self._stop if (place := self.text.find(stop, begin)) >= 0]
        if found:
            self.text = self.text[: min(found)]
        return bool(found)

    def take(self, *, final: bool = False) -> str:
        """What can be shown and has not been; all of it when nothing more will come."""
        if final and self._read < len(self._ids):
            old = self._decode(self._ids[self._begin : self._read])
            self._begin, rest = self._read, self._decode(self._ids[self._begin :])[len(old) :]
            self._read = len(self._ids)
            self._append(rest)
        end = len(self.text) if final else max(self._shown, len(self.text) - self._hold)
        piece = self.text[self._shown : end]
        self._shown = max(self._shown, end)
        return piece
