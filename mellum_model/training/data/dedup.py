"""Which records repeat another: exact copies by hash, near copies by MinHash. One pass before training.

The stream itself keeps no memory of what it has seen, so that its state stays small; it is told which records to skip.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..recipes import Dedup
from ..recipes import Source as SourceSpec
from .sources import HubDataset, Source

_PERMUTATIONS = 64
_SHINGLE = 5
"""Words of a shingle."""


@dataclass(slots=True)
class Repeated:
    """What the pass found of one source."""

    records: int = 0
    exact: set[int] = field(default_factory=set)
    """Ordinals of exact copies of an earlier record, of this source or one before it."""
    near: set[int] = field(default_factory=set)


def find_repeated(
    sources: Mapping[str, Source], specs: Mapping[str, SourceSpec], settings: Dedup
) -> dict[str, Repeated]:
    """Read every source once and name the copies; the first of equals is kept.

    Args:
        sources: In the order in which the first of equals is decided.
        specs: What the recipe says of them.
        settings: Which copies count. Near copies are looked for within each source.

    Returns:
        One entry a source that was read; data sets streamed from the hub are not, they may be larger than any disk.
    """
    found: dict[str, Repeated] = {}
    seen: set[bytes] = set()
    for name, source in sources.items():
        if isinstance(source, HubDataset):
            continue
        own = found[name] = Repeated()
        near = _Near(settings.threshold) if settings.minhash else None
        for record, _ in source.read({}):
            own.records += 1
            text = content(record.data, specs[name].field)
            digest = hashlib.blake2b(text.encode(), digest_size=12).digest()
            if settings.exact and digest in seen:
                own.exact.add(record.ordinal)
            elif near is not None and near.repeats(record.ordinal, text):
                own.near.add(record.ordinal)
            seen.add(digest)
    return found


def content(data: Mapping[str, Any], field: str) -> str:
    """What identifies a record: its text, or its conversation as JSON."""
    if isinstance(data.get(field), str):
        return str(data[field])
    kept = {key: data[key] for key in ("messages", "tools", "reasoning") if data.get(key)}
    return json.dumps(kept, sort_keys=True, ensure_ascii=False)


class _Near:
    def __init__(self, threshold: float) -> None:
        from datasketch import MinHash, MinHashLSH

        self._blank = MinHash(num_perm=_PERMUTATIONS, seed=1)
        self._index = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS)
        self._threshold = threshold

    def repeats(self, ordinal: int, text: str) -> bool:
        """Whether something like it was there before; if not, it is remembered."""
        words = re.findall(r"\w+|[^\w\s]", text)
        shingles = {" ".join(words[at : at + _SHINGLE]) for at in range(max(1, len(words) - _SHINGLE + 1))}
        sketch = self._blank.copy()
        sketch.update_batch([shingle.encode() for shingle in shingles])
        if self._index.query(sketch):
            return True
        self._index.insert(ordinal, sketch)
        return False
