"""What a recipe says of its data: sources, curriculum, filters, packing; conversations for fine-tuning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of a recipe: no unknown fields, nothing changed after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Section):
    """One source of documents."""

    kind: Literal["jsonl", "parquet", "hf", "generator"]
    path: str | None = None
    """File, directory or glob of JSONL or Parquet, relative to the recipe; the id of a hub data set."""
    name: str | None = None
    """Of a generator that the command line hands in; of a hub data set's configuration."""
    split: str = "train"
    """Of a hub data set or a generator; training never reads a generator's `held_out`."""
    field: str = "text"
    """Key of the document's text."""
    code: bool = False
    """Raw source code: what `fim.code_only` cuts."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Handed to the generator."""

    @model_validator(mode="after")
    def _has_a_place(self) -> Source:
        if self.kind == "generator" and not self.name:
            raise ValueError("a generator needs a name")
        if self.kind != "generator" and not self.path:
            raise ValueError(f"a source of kind {self.kind} needs a path")
        return self


class Fim(Section):
    """Fill in the middle."""

    rate: Share = 0.5
    """Share of the documents that are cut."""
    spm: Share = 0.5
    """Of these, how many have their suffix first."""
    code_only: bool = False
    """Cut only sources that are marked `code`."""


class Phase(Section):
    """A part of the curriculum."""

    name: str
    share: Annotated[float, Field(gt=0, le=1)]
    """Of the stage's tokens; those of all phases add up to 1."""
    mixture: dict[str, Annotated[float, Field(ge=0)]]
    """Weight of each source, in tokens; normalised."""
    fim: Fim | None = None
    """None: no document is cut."""


class Dedup(Section):
    """Which repeated documents are left out."""

    exact: bool = True
    minhash: bool = False
    """Near-duplicates of code and text by MinHash over word n-grams."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """Jaccard similarity from which two documents are one."""


class Filters(Section):
    """What is left out before packing."""

    min_unique_tokens: Annotated[int, Field(ge=0)] = 82
    """Documents with fewer distinct tokens are dropped (1 % of Mellum 2's context: a token repeated for ever made the
    report's loss spike). 0 keeps all."""
    dedup: Dedup = Dedup()
    decontaminate: bool = True
    """Against every registered suite, by the index that the command line hands in."""
    ngram: Count = 13
    """Words that must agree in a row for a document to count as contaminated."""


class Packing(Section):
    """How documents become rows."""

    method: Literal["best_fit", "split"] = "best_fit"
    """Best-fit: documents are only cut when longer than a row. Split: one long stream, cut anywhere."""
    buffer: Count = 1024
    """Documents held to choose from."""
    document_mask: bool = False
    """Documents of a row do not see each other."""


class PretrainData(Section):
    """Documents for pre-training and the long-context stage."""

    sources: Annotated[dict[str, Source], Field(min_length=1)]
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    max_epochs: Count = 4
    """How often a source may be read; beyond that training stops with a message. The report: no set more than 4×."""
    filters: Filters = Filters()
    packing: Packing = Packing()

    @model_validator(mode="after")
    def _adds_up(self) -> PretrainData:
        total = sum(phase.share for phase in self.phases)
        if abs(total - 1) > 5e-3:
            raise ValueError(f"the shares of the phases add up to {total:g}, not 1")
        for phase in self.phases:
            for name in phase.mixture:
                if name not in self.sources:
                    raise ValueError(
                        f"phase {phase.name!r} mixes {name!r}, which is no source{near(name, self.sources)}"
                    )
            if not sum(phase.mixture.values()):
                raise ValueError(f"phase {phase.name!r} mixes nothing")
        return self


class SftData(Section):
    """Conversations for supervised fine-tuning."""

    sources: Annotated[dict[str, Source], Field(min_length=1)]
    mixture: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Weight of each source, in tokens; empty: as many as each has."""
    form: Literal["instruct", "thinking"] = "instruct"
    """Instruct learns every assistant turn without its reasoning; thinking the last one with it."""
    unfold: Count = 5
    """Thinking: samples of one conversation at most, each ending at another assistant turn."""
    epochs: Count = 3
    filters: Filters = Filters(min_unique_tokens=0)
    packing: Packing = Packing(document_mask=True)


def _kind_of_data(value: Any) -> str:
    """Phases make a curriculum of documents; whatever has none is conversations."""
    has_phases = "phases" in value if isinstance(value, Mapping) else isinstance(value, PretrainData)
    return "documents" if has_phases else "conversations"


TAGS = ("documents", "conversations")
StageData = Annotated[
    Annotated[PretrainData, Tag("documents")] | Annotated[SftData, Tag("conversations")], Discriminator(_kind_of_data)
]


def near(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the one that was meant, or all that are known."""
    found = get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {found[0]}?" if found else f"; known are {', '.join(sorted(known))}"
