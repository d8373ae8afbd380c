"""The report as one HTML file that needs no network, no server and, for all but the samples, no script."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from mellum_eval import __version__
from mellum_eval.terminal import printable
from reports import svg
from reports.board import OUTCOMES, Board, in_order
from reports.breakdown import breakdown, over_seeds, part_name
from reports.plots import plots
from reports.text import script_json


def render_html(board: Board, samples: Sequence[Mapping[str, Any]]) -> str:
    """The page. Every string in it that is not ours is made printable, then escaped by the template engine."""
    style, script = _asset("report.css"), _asset("report.js")
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    drawn = [(plot, svg.draw(plot.spec, plot.label)) for plot in plots(board)] if svg.available() else []
    counted = {name for row in board.rows for name in row.outcomes}
    page = environment.get_template("report.html").render(
        board=board,
        # Markup: JSON whose own escapes leave nothing to escape; HTML's would not be undone inside a script element.
        samples=Markup(script_json(samples)) if samples else "",
        style=Markup(style),
        script=Markup(script),
        style_hash=_csp_hash(style),
        script_hash=_csp_hash(script),
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
        tokens=_tokens,
        version=__version__,
    )
    return page + "\n"


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


def _shown(value: Any) -> Any:
    """What the template writes for a value: text with its invisible characters as escapes, all else as it is."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _breakable(text: str) -> Markup:
    """A long name that may be broken after its slashes."""
    return escape(printable(text)).replace("/", Markup("/<wbr>"))


def _asset(name: str) -> str:
    return (files("reports") / "templates" / name).read_text("utf-8")


def _csp_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
