"""Scores that others published, each with its source and settings: shown beside measured ones, never mixed with them.

A baseline is one YAML file in this folder, named as on the command line. A table in it has the form of the table it
was copied from, so that a person can compare the two; `values` unrolls it to one record a cell.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mellum_eval.errors import UserError


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Strict):
    """Where the numbers stand."""

    citation: str
    arxiv: str | None = None
    url: str
    retrieved: str


class PublishedModel(_Strict):
    """A model as the source names it. Parameters in billions; None where not known."""

    name: str
    total: float | None = Field(default=None, gt=0)
    active: float | None = Field(default=None, gt=0)
    exact: bool
    """False where only a rounded figure is published."""


class Benchmark(_Strict):
    """What a published row measures."""

    name: str
    category: Literal["code", "math", "tools", "knowledge", "safety", "chat", "other"]
    metric: str
    lower_is_better: bool = False
    suite: str | None = None
    """The suite here that asks the same questions and counts them the same way."""
    overall: str | None = None
    """The score over several suites here that weighs the same categories the same way."""
    note: str | None = None


class Table(_Strict):
    """One published table: a row a benchmark, a column a model, values in per cent, None where none was published."""

    id: str
    title: str
    locator: str
    settings: str
    campaign: str | None = None
    """The campaign in `campaigns/` that measures the table's open-weight models with this harness."""
    columns: tuple[str, ...]
    rows: dict[str, tuple[float | None, ...]]


class PublishedValue(_Strict):
    """One cell with all that belongs to it."""

    table: Table
    benchmark: Benchmark
    model: PublishedModel
    value: float
    """In per cent."""
    source: str


class Baseline(_Strict):
    """One source's published tables."""

    name: str
    title: str
    source: Source
    notes: tuple[str, ...] = ()
    models: dict[str, PublishedModel]
    benchmarks: dict[str, Benchmark]
    tables: tuple[Table, ...]

    @model_validator(mode="after")
    def _complete(self) -> Baseline:
        for table in self.tables:
            for key in table.columns:
                if key not in self.models:
                    raise ValueError(f"table {table.id}: no model {key!r}")
            for key, row in table.rows.items():
                if key not in self.benchmarks:
                    raise ValueError(f"table {table.id}: no benchmark {key!r}")
                if len(row) != len(table.columns):
                    raise ValueError(f"table {table.id}: {key} has {len(row)} values for {len(table.columns)} models")
                if any(value is not None and not 0.0 <= value <= 100.0 for value in row):
                    raise ValueError(f"table {table.id}: {key} has a value that is no percentage")
        return self

    def values(self) -> Iterator[PublishedValue]:
        """Every published cell, table by table, row by row."""
        for table in self.tables:
            for key, row in table.rows.items():
                for column, value in zip(table.columns, row, strict=True):
                    if value is not None:
                        yield PublishedValue(
                            table=table,
                            benchmark=self.benchmarks[key],
                            model=self.models[column],
                            value=value,
                            source=f"{self.source.citation}, {table.locator}, {self.source.url}",
                        )


def available() -> list[str]:
    """Names of the baselines that come with the package."""
    names = (item.name for item in files(__package__).iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


@cache
def load(name: str) -> Baseline:
    """A baseline by name.

    Raises:
        UserError: There is none of that name, or its file does not hold together.
    """
    import yaml

    if name not in available():
        raise UserError(f"no baseline named {name!r}; there are: {', '.join(available())}")
    text = (files(__package__) / f"{name}.yaml").read_text("utf-8")
    try:
        return Baseline.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, ValidationError) as error:
        raise UserError(f"reports/baselines/{name}.yaml: {error}") from None


def campaign_path(name: str) -> Path | None:
    """The file of a campaign that is bundled, None where there is none of that name."""
    path = Path(str(files("reports.baselines") / "campaigns" / f"{name}.yaml"))
    return path if name.isidentifier() and path.is_file() else None
