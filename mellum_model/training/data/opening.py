"""From a stage of a recipe to its stream."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...tokenizer import Tokenizer
from ..recipes import PretrainData, Stage
from .audit import Wanted, write_audit
from .decontaminate import Contamination, SuiteIndex
from .dedup import find_repeated
from .encode import END_OF_TEXT, DocumentEncoder, token_id
from .records import Encoder
from .sources import Generator, open_source
from .stream import MixedStream, Stretch


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A stage's stream, and what its audit is held against."""

    stream: MixedStream
    wanted: Wanted

    def write_audit(self, directory: Path) -> None:
        """Write `data_audit.json` and `data_audit.md` of what was read so far."""
        write_audit(self.stream.tally, self.wanted, directory)


def open_stream(
    stage: Stage,
    tokenizer: Tokenizer,
    *,
    total_tokens: int,
    root: Path = Path(),
    generators: Mapping[str, Generator] | None = None,
    index: Callable[[], SuiteIndex] | None = None,
    rank: int = 0,
    ranks: int = 1,
) -> OpenStream:
    """Open a stage's sources and mix them.

    Args:
        stage: Of a recipe.
        tokenizer: The model's.
        total_tokens: Of the whole stage over all ranks, padding included: phases are shares of it.
        root: What relative paths of the recipe are relative to.
        generators: By the names that recipes use.
        index: Gives what the suites ask; called only where the recipe decontaminates.
        rank: This process's place.
        ranks: Of so many.

    Raises:
        DataError: A source is missing, empty or damaged, or the tokenizer lacks a mark that the stage needs.
    """
    data = stage.data
    sources = {name: open_source(name, spec, generators or {}, root) for name, spec in data.sources.items()}
    dedup = data.filters.dedup
    repeated = find_repeated(sources, data.sources, dedup) if dedup.exact or dedup.minhash else {}
    found = index() if data.filters.decontaminate and index is not None else None
    encoder: Encoder
    if isinstance(data, PretrainData):
        encoder = DocumentEncoder(data, tokenizer, stage.sequence_length, stage.seed)
        stretches = [Stretch(phase.name, phase.share, phase.mixture) for phase in data.phases]
        epochs, ends = data.max_epochs, False
    else:
        from ...post_training.sft import ChatEncoder

        encoder = ChatEncoder(tokenizer, stage.sequence_length, form=data.form, unfold=data.unfold)
        weights = data.mixture or {name: float(max(1, _kept(repeated, name))) for name in sources}
        stretches = [Stretch(f"sft {data.form}", 1.0, weights)]
        epochs, ends = data.epochs, True
    identity = hashlib.sha256(f"{data.model_dump_json()}{tokenizer.backend.to_str()}".encode()).hexdigest()
    stream = MixedStream(
        sources,
        stretches,
        encoder,
        data.packing,
        fields={name: spec.field for name, spec in data.sources.items()},
        length=stage.sequence_length,
        total_rows=total_tokens // stage.sequence_length,
        pad=token_id(tokenizer, END_OF_TEXT),
        seed=stage.seed,
        max_epochs=epochs,
        ends=ends,
        identity=identity,
        repeated=repeated,
        contamination=Contamination(found, data.filters.ngram) if found is not None else None,
        rank=rank,
        ranks=ranks,
    )
    wanted = Wanted(
        stage.sequence_length,
        {stretch.name: stretch.weights for stretch in stretches},
        tuple(found.missing) if found is not None else (),
        tuple(sorted({*found.written, *found.questions})) if found is not None else (),
    )
    return OpenStream(stream, wanted)


def _kept(repeated: Mapping[str, object], name: str) -> int:
    found = repeated.get(name)
    return 0 if found is None else found.records - len(found.exact) - len(found.near)  # type: ignore[attr-defined]
