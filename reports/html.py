"""The report as one HTML file that needs no network, no server and, for all but the samples, no script."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup

from mellum_eval.records import SuiteRecord
from reports import svg
from reports.board import OUTCOMES, Board, in_order
from reports.breakdown import breakdown, over_seeds, part_name
from reports.page import template
from reports.plots import plots
from reports.samples import Samples, fitting
from reports.text import script_json

_PAGE = 1_450_000
"""Characters of a page: beyond this it is slow to open and too large to mail."""
_MANY = 400
"""Results above which a suite's table gives its outcomes as counts alone, without bars."""


def render_html(board: Board, samples: Samples = ()) -> str:
    """The page, with as many of the samples as there is room for.

    Every string in it that is not ours is made printable, then escaped by the template engine.
    """
    render = _template(board)
    bare = render(samples="", left_out=sum(len(chosen) for _, chosen in samples))
    kept, left_out = fitting(samples, _PAGE - len(bare))
    if not kept:  # a page that is large without samples is not made twice
        return bare + "\n"
    # Markup: JSON whose own escapes leave nothing to escape; HTML's would not be undone inside a script element.
    return render(samples=Markup(script_json(kept)), left_out=left_out) + "\n"


def _template(board: Board) -> Callable[..., str]:
    drawn = [(plot, svg.draw(plot.spec, plot.label)) for plot in plots(board)] if svg.available() else []
    counted = {name for row in board.rows for name in row.outcomes}
    return template(
        "report.html",
        board=board,
        bars=sum(len(row.cells) for row in board.rows) <= _MANY,
        published_models=sum(len(table.columns) for baseline in board.baselines for table in baseline.tables),
        known=OUTCOMES,
        legend=[name for name, _ in in_order(dict.fromkeys(counted, 1))],
        in_order=in_order,
        facts=facts,
        drawn=drawn,
        undrawn=bool(board.rows) and not svg.available(),
        seeds=over_seeds([row.run for row in board.rows]),
        breakdown=breakdown,
        part_name=part_name,
        first_with=_first_with(board),
        tokens=_tokens,
    )


def _first_with(board: Board) -> Callable[[list[SuiteRecord]], str]:
    """Which run is the first with these suites, so that fifty runs of the same ones need not all spell them out."""
    first: dict[str, str] = {}

    def label(suites: list[SuiteRecord]) -> str:
        return first[_key(suites)]

    for row in board.rows:
        first.setdefault(_key(row.run.manifest.suites), row.run.label)
    return label


def _key(suites: list[SuiteRecord]) -> str:
    return repr([suite.model_dump() for suite in suites])


def facts(values: Mapping[str, Any]) -> str:
    """A small mapping of a manifest as one line of text."""
    parts = []
    for name, value in values.items():
        if value is None or value == {} or value == []:
            continue
        parts.append(
            f"{name} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)}"
        )
    return "; ".join(parts) if parts else "–"


def _tokens(means: Mapping[str, float]) -> str:
    parts = [f"{name} {100 * n:.1f} %" if name == "truncated" else f"{name} {n:,.0f}" for name, n in means.items()]
    return ", ".join(parts) if parts else "–"
