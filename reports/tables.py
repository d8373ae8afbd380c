"""The report as data: CSV with one number a line, and JSON with everything."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from mellum_eval import __version__
from reports.board import Board
from reports.text import csv_cell, visible

CSV_COLUMNS = (
    "kind",
    "model",
    "run",
    "total_parameters_1e9",
    "active_parameters_1e9",
    "category",
    "suite",
    "metric",
    "lower_is_better",
    "value",
    "ci95_lo",
    "ci95_hi",
    "stderr",
    "n",
    "tier",
    "best_or_tied",
    "unparsed_rate",
    "infra_error_rate",
    "source",
)
"""Values, ends and rates are fractions of 1, measured or published, but in rows of category `measure`."""


def render_csv(board: Board) -> str:
    """One line a metric and run, then one a published value; cells that look like formulas are defused."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    for line in _measured(board) + _published(board):
        writer.writerow({name: csv_cell(value) for name, value in line.items()})
    return out.getvalue()


def render_json(board: Board) -> str:
    """Everything the page shows but the samples, for programs."""
    data = {
        "format": 1,
        "mellum_eval": __version__,
        "partial": board.partial,
        "notices": [{"text": notice.text, "bad_input": notice.bad} for notice in board.notices],
        "measured": [
            {
                "model": row.run.label,
                "run": str(row.run.path),
                "created": row.run.manifest.created,
                "partial": row.run.partial,
                "parameters_1e9": dict(zip(("total", "active"), row.run.parameters, strict=True)),
                "best_or_tied": {"suites": row.firsts, "of": row.contests},
                "outcomes": row.outcomes,
                "suites": {
                    name: {
                        **cell.result.scores.model_dump(mode="json"),
                        "version": cell.result.record.version,
                        "headline": cell.result.headline,
                        "lower_is_better": cell.result.record.lower_is_better,
                        "tier": cell.tier if cell.contested else None,
                    }
                    for name, cell in row.cells.items()
                },
                "overall": {name: score.model_dump(mode="json") for name, score in row.run.overall.items()},
            }
            for row in board.rows
        ],
        "published": [baseline.model_dump(mode="json") for baseline in board.baselines],
    }
    return json.dumps(visible(data), indent=2, ensure_ascii=True) + "\n"


def _measured(board: Board) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for row in board.rows:
        total, active = row.run.parameters
        measured = {
            "kind": "measured",
            "model": row.run.label,
            "run": str(row.run.path),
            "total_parameters_1e9": total,
            "active_parameters_1e9": active,
        }
        for column in board.columns:
            cell = row.cells.get(column.suite)
            if cell is None:
                continue
            scores = cell.result.scores
            for name, metric in scores.metrics.items():
                headline = name == cell.result.headline
                lines.append(
                    {
                        **measured,
                        "category": column.category,
                        "suite": column.suite,
                        "metric": name,
                        "lower_is_better": column.lower_is_better,
                        "value": metric.value,
                        "ci95_lo": metric.ci95[0],
                        "ci95_hi": metric.ci95[1],
                        "stderr": metric.stderr,
                        "n": scores.n,
                        "tier": cell.tier if headline and cell.contested else None,
                        "best_or_tied": cell.best if headline and cell.contested else None,
                        "unparsed_rate": scores.unparsed_rate,
                        "infra_error_rate": scores.infra_error_rate,
                    }
                )
        for suite, name in board.measures:
            measure = row.measure(suite, name)
            if measure is not None:
                lines.append(
                    {
                        **measured,
                        "category": "measure",
                        "suite": suite,
                        "metric": name,
                        "value": measure.value,
                        "ci95_lo": measure.ci95[0],
                        "ci95_hi": measure.ci95[1],
                        "stderr": measure.stderr,
                    }
                )
        for name, score in row.run.overall.items():
            if score.value is not None and score.ci95 is not None:
                lines.append(
                    {
                        **measured,
                        "category": "overall",
                        "suite": name,
                        "metric": "overall",
                        "lower_is_better": False,
                        "value": score.value,
                        "ci95_lo": score.ci95[0],
                        "ci95_hi": score.ci95[1],
                        "stderr": score.stderr,
                    }
                )
    return lines


def _published(board: Board) -> list[dict[str, Any]]:
    return [
        {
            "kind": "published",
            "model": value.model.name,
            "total_parameters_1e9": value.model.total,
            "active_parameters_1e9": value.model.active,
            "category": value.benchmark.category,
            "suite": value.benchmark.name,
            "metric": value.benchmark.metric,
            "lower_is_better": value.benchmark.lower_is_better,
            "value": round(value.value / 100.0, 6),
            "source": value.source,
        }
        for baseline in board.baselines
        for value in baseline.values()
    ]
