"""Documents into examples: tokens, the filter on monotony, fill in the middle, pieces of what is too long."""

from __future__ import annotations

import random
from itertools import pairwise

from ...fim import MIDDLE, PREFIX, SUFFIX, Gap, gap_in
from ...tokenizer import Tokenizer
from ..errors import DataError
from ..recipes import PretrainData
from .records import Encoded, Example, Record

END_OF_TEXT = "<|endoftext|>"
_SLACK = 8
"""Tokens of a piece left free for the marks of FIM, the end of text, and what encoding a cut word anew may add."""


class DocumentEncoder:
    """Texts of a pre-training mixture.

    Special tokens that stand in a document's text are encoded as plain text: a document cannot open a turn or a gap.
    """

    def __init__(self, data: PretrainData, tokenizer: Tokenizer, length: int, seed: int) -> None:
        """Prepare.

        Args:
            data: Names the sources' text fields, the phases' FIM, the filter.
            tokenizer: Must know `<|endoftext|>` and, where a phase has FIM, its three marks.
            length: Tokens of a row: longer documents are cut into pieces.
            seed: Decides which documents get a gap, and where.
        """
        self._data, self._tokenizer, self._length, self._seed = data, tokenizer, length, seed
        self._end = token_id(tokenizer, END_OF_TEXT)
        wanted = any(phase.fim is not None for phase in data.phases)
        self._marks = {mark: token_id(tokenizer, mark) for mark in (PREFIX, SUFFIX, MIDDLE)} if wanted else {}

    def encode(self, record: Record, source: str, phase: int, epoch: int) -> Encoded:
        """Examples of a document: one, or the pieces of a long one. Each ends with `<|endoftext|>`."""
        field = self._data.sources[source].field
        text = record.data.get(field)
        if not isinstance(text, str):
            raise DataError(f"{record.where}: field {field!r} is {type(text).__name__}, expected a string")
        ids = self._tokenizer.encode_plain(text)
        if not ids:
            return Encoded([], {"empty": 1})
        if len(set(ids)) < self._data.filters.min_unique_tokens:
            return Encoded([], {"monotonous": 1})
        examples = []
        for number, piece in enumerate(self._pieces(text, ids)):
            rng = random.Random(f"{self._seed}/{source}/{epoch}/{record.ordinal}/{number}")
            examples.append(self._example(piece, source, phase, rng))
        return Encoded(examples)

    def _pieces(self, text: str, ids: list[int]) -> list[str]:
        room = self._length - _SLACK
        if len(ids) <= room:
            return [text]
        ends = self._tokenizer.plain_ends(text)[room - 1 :: room]
        bounds = [0, *sorted({*ends, len(text)})]
        return [text[begin:end] for begin, end in pairwise(bounds) if end > begin]

    def _example(self, text: str, source: str, phase: int, rng: random.Random) -> Example:
        fim = self._data.phases[phase].fim
        if fim is not None and (not fim.code_only or self._data.sources[source].code) and rng.random() < fim.rate:
            gap = gap_in(text, rng)
            suffix_first = rng.random() < fim.spm
            ids = [*self._filled(gap, suffix_first=suffix_first), self._end]
            if len(ids) <= self._length:
                return Example(source, ids, None, "spm" if suffix_first else "psm")
        ids = [*self._tokenizer.encode_plain(text)[: self._length - 1], self._end]
        return Example(source, ids)

    def _filled(self, gap: Gap, *, suffix_first: bool) -> list[int]:
        prefix = [self._marks[PREFIX], *self._tokenizer.encode_plain(gap.prefix)]
        suffix = [self._marks[SUFFIX], *self._tokenizer.encode_plain(gap.suffix)]
        middle = [self._marks[MIDDLE], *self._tokenizer.encode_plain(gap.middle)]
        return [*suffix, *prefix, *middle] if suffix_first else [*prefix, *suffix, *middle]


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a token that must be there.

    Raises:
        DataError: The tokenizer lacks it.
    """
    found = tokenizer.id_of(token)
    if found is None:
        raise DataError(f"the tokenizer has no {token}, which this stage needs")
    return found
