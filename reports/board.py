"""The leaderboard as data: what every form of output shows, decided once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from mellum_eval.records import Metric
from reports.baselines import Baseline, Benchmark, PublishedModel, Table
from reports.ranking import tiers
from reports.run import Notice, Run, SuiteResult

CATEGORIES = ("code", "math", "tools", "knowledge", "long_context", "safety", "chat")
OUTCOMES = (
    "passed",
    "failed",
    "compile_error",
    "runtime_error",
    "timeout",
    "out_of_memory",
    "tampered",
    "unparsed",
    "infra_error",
)


@dataclass(frozen=True, slots=True)
class Column:
    """A suite as the leaderboard heads it."""

    suite: str
    category: str
    metric: str
    lower_is_better: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """One measured result. `tier` is 1 for the best and all that are tied with it."""

    result: SuiteResult
    tier: int
    contested: bool
    """Whether another run has the suite too: alone, a tier says nothing."""

    @property
    def best(self) -> bool:
        """Best, or tied with the best, among at least two."""
        return self.contested and self.tier == 1


@dataclass(frozen=True, slots=True)
class Row:
    """A measured run."""

    run: Run
    cells: dict[str, Cell]
    """By suite."""
    firsts: int
    """Suites on which it is best or tied with the best."""
    contests: int
    """Suites that another run has too."""
    outcomes: dict[str, int]

    def measure(self, suite: str, name: str) -> Metric | None:
        """One of `Board.measures`, where this run has it."""
        cell = self.cells.get(suite)
        return None if cell is None else cell.result.scores.measures.get(name)

    @property
    def samples(self) -> int:
        """Answers, judged or not."""
        return sum(self.outcomes.values())

    @property
    def infra_rate(self) -> float:
        """Share of the answers that could not be judged."""
        return self.outcomes.get("infra_error", 0) / self.samples if self.samples else 0.0

    @property
    def unparsed_rate(self) -> float:
        """Share of the judged answers in which no answer could be found."""
        judged = self.samples - self.outcomes.get("infra_error", 0)
        return self.outcomes.get("unparsed", 0) / judged if judged else 0.0


@dataclass(frozen=True, slots=True)
class PublishedCell:
    """A published value under a measured column, in per cent."""

    value: float
    benchmark: Benchmark


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A published model, in one table of one baseline, with the cells that have a column here."""

    model: PublishedModel
    table: Table
    baseline: Baseline
    cells: dict[str, PublishedCell]


@dataclass(frozen=True, slots=True)
class Board:
    """All that a report says."""

    groups: tuple[tuple[str, tuple[Column, ...]], ...]
    """Category → its columns."""
    rows: tuple[Row, ...]
    published: tuple[PublishedRow, ...]
    published_overall: tuple[PublishedRow, ...]
    """With cells by the name of a score over several suites."""
    baselines: tuple[Baseline, ...]
    notices: tuple[Notice, ...]

    @property
    def columns(self) -> list[Column]:
        """All columns, left to right."""
        return [column for _, columns in self.groups for column in columns]

    @property
    def overall(self) -> list[str]:
        """Names of the scores over several suites that a run has."""
        return list(dict.fromkeys(name for row in self.rows for name in row.run.overall))

    @property
    def measures(self) -> list[tuple[str, str]]:
        """Suite and name of what runs measured that is no share, such as a perplexity."""
        return list(
            dict.fromkeys(
                (suite, name)
                for row in self.rows
                for suite, cell in row.cells.items()
                for name in cell.result.scores.measures
            )
        )

    @property
    def published_tables(self) -> list[tuple[str, list[PublishedRow]]]:
        """Published rows by the table they stand in."""
        return _by_table(self.published)

    @property
    def published_overall_tables(self) -> list[tuple[str, list[PublishedRow]]]:
        """Published rows beside the scores over several suites, by the table they stand in."""
        return _by_table(self.published_overall)

    @property
    def partial(self) -> bool:
        """Whether anything is missing that was asked for."""
        return any(row.run.partial for row in self.rows) or any(notice.bad for notice in self.notices)


def make_board(runs: Sequence[Run], baselines: Sequence[Baseline], notices: Sequence[Notice]) -> Board:
    """Arrange runs and baselines: columns by category, rows by the number of suites that a run is best at or tied.

    Runs with the same number of firsts keep the order in which they were given: no order is claimed that the data do
    not support.
    """
    columns: dict[str, Column] = {}
    for run in runs:
        for name, result in run.suites.items():
            columns.setdefault(
                name, Column(name, result.scores.category, result.headline, result.record.lower_is_better)
            )
    ranks = {name: _ranks(runs, name) for name in columns}
    rows = []
    for run in runs:
        cells = {name: Cell(result, *ranks[name][run.label]) for name, result in run.suites.items()}
        outcomes: Counter[str] = Counter()
        for line in (*(result.scores for result in run.suites.values()), *run.unjudged.values()):
            outcomes.update(line.outcomes)
        rows.append(
            Row(
                run,
                cells,
                sum(cell.best for cell in cells.values()),
                sum(cell.contested for cell in cells.values()),
                dict(outcomes),
            )
        )
    rows.sort(key=lambda row: -row.firsts)
    overall = {name for run in runs for name in run.overall}
    return Board(
        _grouped(columns.values()),
        tuple(rows),
        _published(baselines, columns.keys(), lambda benchmark: benchmark.suite),
        _published(baselines, overall, lambda benchmark: benchmark.overall),
        tuple(baselines),
        tuple(notices),
    )


def in_order(outcomes: dict[str, int]) -> list[tuple[str, int]]:
    """Outcomes with a count, the known ones first and in their own order."""
    known = [(name, outcomes[name]) for name in OUTCOMES if outcomes.get(name)]
    return known + sorted((name, n) for name, n in outcomes.items() if name not in OUTCOMES and n)


def _ranks(runs: Sequence[Run], suite: str) -> dict[str, tuple[int, bool]]:
    """Run label → tier, and whether there is another run to compare with: only what asked the same is ranked."""
    alike: dict[str, dict[str, SuiteResult]] = {}
    for run in runs:
        if suite in run.suites:
            alike.setdefault(run.suites[suite].identity, {})[run.label] = run.suites[suite]
    return {label: (tier, len(results) > 1) for results in alike.values() for label, tier in tiers(results).items()}


def _grouped(columns: Iterable[Column]) -> tuple[tuple[str, tuple[Column, ...]], ...]:
    by_category: dict[str, list[Column]] = {}
    for column in columns:
        by_category.setdefault(column.category, []).append(column)
    order = [c for c in CATEGORIES if c in by_category] + sorted(by_category.keys() - set(CATEGORIES))
    return tuple((category, tuple(by_category[category])) for category in order)


def _by_table(rows: Iterable[PublishedRow]) -> list[tuple[str, list[PublishedRow]]]:
    tables: dict[str, list[PublishedRow]] = {}
    for row in rows:
        tables.setdefault(f"{row.baseline.title}: {row.table.title}", []).append(row)
    return list(tables.items())


def _published(
    baselines: Sequence[Baseline], wanted: Collection[str], place: Callable[[Benchmark], str | None]
) -> tuple[PublishedRow, ...]:
    """Published models with the values that have one of the wanted places here."""
    rows = []
    for baseline in baselines:
        for table in baseline.tables:
            for position, key in enumerate(table.columns):
                cells = {}
                for name, values in table.rows.items():
                    benchmark, value = baseline.benchmarks[name], values[position]
                    name_here = place(benchmark)
                    if value is not None and name_here is not None and name_here in wanted:
                        cells[name_here] = PublishedCell(value, benchmark)
                if cells:
                    rows.append(PublishedRow(baseline.models[key], table, baseline, cells))
    return tuple(rows)
