"""The report as Markdown: the same numbers in tables that a repository's page can show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mellum_eval.records import Metric, OverallScore
from reports.baselines import Baseline, PublishedModel, Table
from reports.board import Board, Cell, Row, in_order
from reports.text import markdown


def render_markdown(board: Board) -> str:
    """The leaderboard, the outcomes, the published tables and how to read them."""
    out = ["# mellum-eval report", ""]
    if board.notices:
        out += ["**This report is partial.**" if board.partial else "**Note.**", ""]
        out += [f"- {markdown(notice.text, 400)}" for notice in board.notices] + [""]
    if board.columns:
        out += [
            "## Measured",
            "",
            "Per cent with the 95 % interval. **Bold** is the best of a suite and all that are tied with it; "
            "the number in parentheses is the tier. ↓: lower is better.",
            "",
        ]
        for category, columns in board.groups:
            heads = [f"{markdown(c.suite)}{' ↓' if c.lower_is_better else ''}, {markdown(c.metric)}" for c in columns]
            out += [f"### {markdown(category)}", ""]
            lines = []
            for row in board.rows:
                cells = [_cell(row.cells.get(column.suite)) for column in columns]
                lines.append([markdown(row.run.label), _size(*row.run.parameters), *cells])
            out += _table(["Model", "Parameters, 10⁹ (total / active)", *heads], lines)
        if board.measures:
            out += ["### No shares", "", *_measures(board)]
        if board.overall:
            out += ["### Over several suites", "", *_overall(board)]
        out += ["### Answers", "", *_answers(board.rows)]
    for baseline in board.baselines:
        out += _published(baseline)
    return "\n".join(out).rstrip() + "\n"


def _measures(board: Board) -> list[str]:
    lines = []
    for row in board.rows:
        found = [row.measure(suite, name) for suite, name in board.measures]
        if any(found):
            lines.append([markdown(row.run.label), *map(_plain, found)])
    return _table(["Model", *(f"{markdown(suite)}, {markdown(name)}" for suite, name in board.measures)], lines)


def _plain(metric: Metric | None) -> str:
    return "not run" if metric is None else f"{metric.value:.4g} [{metric.ci95[0]:.4g}, {metric.ci95[1]:.4g}]"


def _overall(board: Board) -> list[str]:
    lines = [
        [markdown(row.run.label), *(_whole(row.run.overall.get(name)) for name in board.overall)]
        for row in board.rows
        if row.run.overall
    ]
    return _table(["Model", *map(markdown, board.overall)], lines)


def _whole(score: OverallScore | None) -> str:
    if score is None or score.value is None or score.ci95 is None:
        return "not run" if score is None else f"not run: {markdown(', '.join(score.missing), 200)}"
    return f"{100 * score.value:.1f} [{100 * score.ci95[0]:.1f}, {100 * score.ci95[1]:.1f}]"


def _answers(rows: Iterable[Row]) -> list[str]:
    return _table(
        ["Model", "Answers", "Unparsed, %", "Infra, %", "Outcomes"],
        [
            [
                markdown(row.run.label),
                str(row.samples),
                f"{100 * row.unparsed_rate:.1f}",
                f"{100 * row.infra_rate:.1f}",
                ", ".join(f"{markdown(name)} {n}" for name, n in in_order(row.outcomes)),
            ]
            for row in rows
        ],
    )


def _published(baseline: Baseline) -> list[str]:
    out = [
        f"## Published, not measured here: {markdown(baseline.title)}",
        "",
        f"Source: {markdown(baseline.source.citation)}, <{baseline.source.url}>. "
        "Other harness and settings, no intervals; never part of a comparison.",
        "",
        *(f"- {markdown(note, 400)}" for note in baseline.notes),
        "",
    ]
    for table in baseline.tables:
        out += [f"### {markdown(table.title)}", "", f"{markdown(table.settings, 400)} {markdown(table.locator)}.", ""]
        if table.campaign:
            out += [
                f"Not measured here: `mellum-eval run --config {table.campaign}` measures the open-weight models.",
                "",
            ]
        heads = [f"{markdown(m.name)} ({_published_size(m)})" for m in (baseline.models[key] for key in table.columns)]
        out += _table(["Benchmark", *heads], _published_rows(baseline, table))
    return out


def _published_rows(baseline: Baseline, table: Table) -> list[list[str]]:
    rows = []
    for key, values in table.rows.items():
        benchmark = baseline.benchmarks[key]
        name = f"{markdown(benchmark.name)}{' ↓' if benchmark.lower_is_better else ''}"
        rows.append([name, *("–" if value is None else f"{value:.1f}" for value in values)])
    return rows


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "not run"
    metric = cell.result.metric
    value = f"{100 * metric.value:.1f}"
    tier = f" ({cell.tier})" if cell.contested else ""
    return f"{f'**{value}**' if cell.best else value}{tier} [{100 * metric.ci95[0]:.1f}, {100 * metric.ci95[1]:.1f}]"


def _size(total: float | None, active: float | None) -> str:
    if total is None and active is None:
        return "not known"
    return " / ".join("?" if x is None else f"{x:.4g}" for x in (total, active))


def _published_size(model: PublishedModel) -> str:
    return f"{'' if model.exact else '≈ '}{_size(model.total, model.active)}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]
