"""BFCL v4's vector memory: a small core and a larger archive, each of texts that are found by what they mean.

The reference's own module loads its encoder where it is imported, from the hub, and no sandbox can. Names of functions,
forms of results and texts of errors are those that it gives. Inner products and the order of equal ones are FAISS's:
numpy's differ in the last digits, which results show, and FAISS does not keep equal ones in order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from suites.tools.sentence_encoder import Vectors

Embed = Callable[[Sequence[Any]], Vectors]


@dataclass(frozen=True, slots=True)
class Room:
    """How much a store takes: texts, and characters of each."""

    texts: int
    characters: int


CORE = Room(texts=7, characters=300)
ARCHIVE = Room(texts=50, characters=2000)


class VectorStore:
    """Texts under numbers, and an index of their vectors, which is made when it is first needed."""

    def __init__(self, room: Room, embed: Embed, held: Mapping[str, Any] | None = None) -> None:
        """Begin empty, or as another store was left.

        Args:
            room: How much it takes.
            embed: The vectors of texts.
            held: What `held` gave.
        """
        self._room, self._embed = room, embed
        self._next: int = held["next"] if held else 0
        self._texts: dict[int, Any] = dict(held["texts"]) if held else {}
        self._index: Any = None

    def held(self) -> dict[str, Any]:
        """What it holds, as JSON's values."""
        return {"next": self._next, "texts": [[number, text] for number, text in self._texts.items()]}

    def shown(self) -> str:
        """What a prompt shows of it."""
        return json.dumps(self._texts, indent=4)

    def add(self, text: Any) -> dict[str, Any]:
        """Keep a text under the next number."""
        if len(text) > self._room.characters:
            return self._too_long()
        if len(self._texts) >= self._room.texts:
            return {"error": f"Memory size exceeds maximum size of {self._room.texts} entries."}
        index = self._indexed()
        number = self._next
        self._next += 1  # a text that cannot be embedded uses up its number
        self._put(index, number, text)
        return {"id": number}

    def remove(self, number: Any) -> dict[str, Any]:
        """Forget a text."""
        if number not in self._texts:
            return _absent(number)
        self._indexed().remove_ids(np.array([number], dtype=np.int64))
        del self._texts[number]
        return {"status": f"ID {number} removed from store."}

    def update(self, number: Any, text: Any) -> dict[str, Any]:
        """Keep another text under a number."""
        if number not in self._texts:
            return _absent(number)
        if len(text) > self._room.characters:
            return self._too_long()
        index = self._indexed()
        index.remove_ids(np.array([number], dtype=np.int64))
        self._put(index, number, text)
        return {"status": f"ID {number} updated."}

    def clear(self) -> dict[str, Any]:
        """Forget everything; numbers begin anew."""
        self._index = None
        self._texts.clear()
        self._next = 0
        return {"status": "Memory cleared."}

    def nearest(self, query: Any, most: Any) -> list[dict[str, Any]]:
        """The texts nearest to a query by inner product, best first; a list of queries stands for its first one."""
        if not self._texts:
            return []
        index = self._indexed()
        scores, numbers = index.search(self._vectors(query), min(most, len(self._texts)))
        return [
            {"id": int(number), "similarity_score": float(score), "text": self._texts[int(number)]}
            for score, number in zip(scores[0], numbers[0], strict=True)
            if number != -1  # a place that nothing fills: a text may have lost its vector in an update that failed
        ]

    def all(self) -> list[dict[str, Any]]:
        """All texts, in the order in which they came."""
        return [{"id": number, "text": text} for number, text in self._texts.items()]

    def _put(self, index: Any, number: Any, text: Any) -> None:
        index.add_with_ids(self._vectors(text), np.array([number], dtype=np.int64))
        self._texts[number] = text

    def _vectors(self, text: Any) -> Vectors:
        return self._embed(text if isinstance(text, list) else [text])

    def _indexed(self) -> Any:
        """The index; of texts that were there from the beginning it is made as the reference makes it of a file's."""
        if self._index is None:
            width = self._embed([""]).shape[1]
            import faiss  # after torch, which embedding loads: the other way round their OpenMPs clash

            index = faiss.IndexIDMap(faiss.IndexFlatIP(width))
            numbers = sorted(self._texts)
            if numbers:
                together = self._embed([self._texts[number] for number in numbers])
                index.add_with_ids(together, np.array(numbers, dtype=np.int64))
            self._index = index
        return self._index

    def _too_long(self) -> dict[str, Any]:
        return {"error": f"Entry length exceeds maximum length of {self._room.characters} characters."}


def _absent(number: Any) -> dict[str, Any]:
    return {"error": f"ID {number} not present in store."}


class MemoryAPI_vector:
    """The functions on offer; named as the reference's class, which the texts of errors name."""

    def __init__(self, core: VectorStore, archive: VectorStore) -> None:
        self._core, self._archive = core, archive

    def core_memory_add(self, text: str) -> dict[str, Any]:
        """Keep a text."""
        return self._core.add(text)

    def core_memory_remove(self, vec_id: int) -> dict[str, Any]:
        """Forget a text."""
        return self._core.remove(vec_id)

    def core_memory_update(self, vec_id: int, new_text: str) -> dict[str, Any]:
        """Keep another text in its place."""
        return self._core.update(vec_id, new_text)

    def core_memory_clear(self) -> dict[str, Any]:
        """Forget all."""
        return self._core.clear()

    def core_memory_retrieve(self, query: str, top_k: int = 5) -> dict[str, Any]:
        """The texts nearest to a query."""
        return {"result": self._core.nearest(query, top_k)}

    def core_memory_retrieve_all(self) -> dict[str, Any]:
        """All texts."""
        return {"result": self._core.all()}

    def archival_memory_add(self, text: str) -> dict[str, Any]:
        """Keep a text."""
        return self._archive.add(text)

    def archival_memory_remove(self, vec_id: int) -> dict[str, Any]:
        """Forget a text."""
        return self._archive.remove(vec_id)

    def archival_memory_update(self, vec_id: int, new_text: str) -> dict[str, Any]:
        """Keep another text in its place."""
        return self._archive.update(vec_id, new_text)

    def archival_memory_clear(self) -> dict[str, Any]:
        """Forget all."""
        return self._archive.clear()

    def archival_memory_retrieve(self, query: str, top_k: int = 5) -> dict[str, Any]:
        """The texts nearest to a query."""
        return {"result": self._archive.nearest(query, top_k)}

    def archival_memory_retrieve_all(self) -> dict[str, Any]:
        """All texts."""
        return {"result": self._archive.all()}
