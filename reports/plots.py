"""What is drawn: score against cost, areas side by side, and what more samples bring.

Each function gives a Vega-Lite specification, or None where there is nothing to draw. Measured points are filled and
carry their intervals; published ones are hollow, carry none, and take no part in a frontier.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mellum_eval.terminal import one_line
from reports.board import Board, Row
from reports.svg import LINE, SERIES, SOFT

RADAR_ROWS = 6
"""Runs in one radar at most: more cannot be told apart."""
_NAMED = 12
"""Points of a panel whose names are written beside them; with more, only the frontier's are."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart and its words.

    Attributes:
        title: Heading.
        reading: What a point or line is, and what it is not.
        label: For readers who cannot see it.
        spec: Vega-Lite.
    """

    title: str
    reading: str
    label: str
    spec: dict[str, Any]


def plots(board: Board) -> list[Plot]:
    """All charts that the board has data for."""
    found = (_against_parameters(board), _against_tokens(board), _radar(board), _pass_at_k(board))
    return [plot for plot in found if plot is not None]


def area_scores(board: Board) -> dict[str, dict[str, tuple[float, float]]]:
    """Run label → area → (mean, its standard error) over the suites of the area that every run has.

    Only suites that all runs took are averaged: a mean over other suites would compare nothing. A suite where lower
    is better counts as its complement. Standard errors of suites are independent: they add in squares.
    """
    means: dict[str, dict[str, tuple[float, float]]] = {row.run.label: {} for row in board.rows}
    for area, columns in board.groups:
        shared = [column for column in columns if all(column.suite in row.cells for row in board.rows)]
        for row in board.rows if shared else ():
            metrics = [row.cells[column.suite].result.metric for column in shared]
            values = [1.0 - m.value if c.lower_is_better else m.value for c, m in zip(shared, metrics, strict=True)]
            error = math.sqrt(math.fsum(m.stderr**2 for m in metrics)) / len(metrics)
            means[row.run.label][area] = (math.fsum(values) / len(values), error)
    return means


def _against_parameters(board: Board) -> Plot | None:
    sizes = {row.run.label: active for row in board.rows if (active := row.run.parameters[1]) is not None}
    points = _cost_points(board, sizes)
    published = [
        {
            "area": column.category,
            "name": one_line(row.model.name, 40),
            "cost": row.model.active,
            "score": 100 * (1 - value if column.lower_is_better else value),
        }
        for row in board.published
        for column in board.columns
        if column.suite in row.cells and row.model.active and _alone(board, column.category)
        for value in (row.cells[column.suite].value / 100,)
    ]
    if not points:
        return None
    published = [point for point in published if any(p["area"] == point["area"] for p in points)]
    return Plot(
        "Score against active parameters",
        "One panel an area; the mean of its suites that every run has, with its 95 % interval. The line joins the runs "
        "that no other run beats at the same size or less. Hollow points are published, not measured here, and shown "
        "only where an area is one suite; the table of published scores names them.",
        "Scatter plot of mean score by area against active parameters",
        _scatter(points, published, "active parameters, 10⁹"),
    )


def _against_tokens(board: Board) -> Plot | None:
    spent: dict[str, float] = {}
    for row in board.rows:
        means = [(c.result.scores.tokens.get("completion"), c.result.scores.n) for c in row.cells.values()]
        given = [(mean, n) for mean, n in means if mean]
        if given:
            spent[row.run.label] = math.fsum(mean * n for mean, n in given) / sum(n for _, n in given)
    points = _cost_points(board, spent)
    if not points:
        return None
    return Plot(
        "Score against tokens spent",
        "The same scores against the mean number of tokens of an answer, reasoning included.",
        "Scatter plot of mean score by area against tokens of an answer",
        _scatter(points, [], "tokens an answer"),
    )


def _alone(board: Board, area: str) -> bool:
    return any(category == area and len(columns) == 1 for category, columns in board.groups)


def _cost_points(board: Board, costs: dict[str, float]) -> list[dict[str, Any]]:
    """Points of runs with a cost; none where fewer than two runs have one."""
    if len(costs) < 2:
        return []
    points: list[dict[str, Any]] = []
    for label, areas in area_scores(board).items():
        for area, (mean, error) in areas.items():
            if label in costs:
                lo, hi = max(0.0, mean - 1.96 * error), min(1.0, mean + 1.96 * error)
                name = one_line(label, 40)
                scaled = {"score": 100 * mean, "lo": 100 * lo, "hi": 100 * hi}
                points.append({"area": area, "name": name, "cost": costs[label], **scaled})
    for area in {point["area"] for point in points}:
        best = -math.inf
        for point in sorted((p for p in points if p["area"] == area), key=lambda p: (p["cost"], -p["score"])):
            point["front"] = point["score"] > best
            best = max(best, point["score"])
    return points


def _scatter(points: list[dict[str, Any]], published: list[dict[str, Any]], cost: str) -> dict[str, Any]:
    x = {"field": "cost", "type": "quantitative", "scale": {"type": "log", "nice": False, "padding": 24}}
    x |= {"title": cost, "axis": {"format": "~s", "tickCount": 5}}
    y = {"field": "score", "type": "quantitative", "scale": {"zero": False, "padding": 16}, "title": "score, %"}
    crowd = Counter(point["area"] for point in points)
    for point in points:
        point["named"] = crowd[point["area"]] <= _NAMED or point["front"]
    front: dict[str, Any] = {"filter": "datum.front"}
    measured = [{"kind": "measured", **point} for point in points]
    others = [{"kind": "published", **point} for point in published]
    layers = [
        {"transform": [front], "mark": {"type": "line", "interpolate": "step-after", "color": SOFT, "strokeWidth": 1}},
        {
            "transform": [{"filter": "datum.kind == 'measured'"}],
            "mark": {"type": "rule", "color": SOFT},
            "encoding": {"y": {"field": "lo", "type": "quantitative"}, "y2": {"field": "hi"}},
        },
        {
            "transform": [{"filter": "datum.kind == 'measured'"}],
            "mark": {"type": "point", "filled": True, "opacity": 1, "size": 60, "color": SERIES[0]},
        },
        {
            "transform": [{"filter": "datum.kind == 'published'"}],
            "mark": {"type": "point", "filled": False, "opacity": 1, "size": 50, "shape": "diamond", "color": SOFT},
        },
        {
            "transform": [{"filter": "datum.named"}],
            "mark": {"type": "text", "align": "left", "dx": 7, "dy": -6, "limit": 150},
            "encoding": {"text": {"field": "name", "type": "nominal"}},
        },
    ]
    return {
        "data": {"values": measured + others},
        "facet": {"field": "area", "type": "nominal"},
        "columns": 3,
        "spec": {"width": 300, "height": 210, "encoding": {"x": x, "y": y}, "layer": layers},
        "resolve": {"scale": {"y": "independent"}, "axis": {"x": "independent"}},
    }


def _radar(board: Board) -> Plot | None:
    """Areas as spokes. Vega-Lite has no polar line, so the corners are computed here."""
    scores = area_scores(board)
    areas = [area for area, _ in board.groups if all(area in of_run for of_run in scores.values())]
    rows: Sequence[Row] = board.rows[:RADAR_ROWS]
    if len(areas) < 3 or len(rows) < 2:
        return None

    def corner(index: int, radius: float) -> dict[str, Any]:
        angle = 2 * math.pi * index / len(areas)
        return {"x": radius * math.sin(angle), "y": radius * math.cos(angle)}

    rings = [
        {**corner(i % len(areas), radius), "ring": radius, "order": i}
        for radius in (25, 50, 75, 100)
        for i in range(len(areas) + 1)
    ]
    spokes = [{"x": 0, "y": 0, "x2": corner(i, 100)["x"], "y2": corner(i, 100)["y"]} for i in range(len(areas))]
    names = [{**corner(i, 116), "text": area} for i, area in enumerate(areas)]
    lines = [
        {**corner(i % len(areas), 100 * scores[row.run.label][areas[i % len(areas)]][0]), "order": i}
        | {"run": one_line(row.run.label, 40)}
        for row in rows
        for i in range(len(areas) + 1)
    ]
    order = [one_line(row.run.label, 40) for row in rows]
    position = {
        axis: {"field": axis, "type": "quantitative", "axis": None, "scale": {"domain": [-130, 130]}}
        for axis in ("x", "y")
    }
    colour = {"field": "run", "type": "nominal", "scale": {"domain": order, "range": list(SERIES)}}
    shape = {"field": "run", "type": "nominal", "scale": {"domain": order}}
    spec = {
        "width": 380,
        "height": 340,
        "layer": [
            {
                "data": {"values": rings},
                "mark": {"type": "line", "color": LINE, "strokeWidth": 1},
                "encoding": {**position, "detail": {"field": "ring"}, "order": {"field": "order"}},
            },
            {
                "data": {"values": spokes},
                "mark": {"type": "rule", "color": LINE},
                "encoding": {**position, "x2": {"field": "x2"}, "y2": {"field": "y2"}},
            },
            {
                "data": {"values": lines},
                "mark": {"type": "line", "strokeWidth": 2},
                "encoding": {**position, "color": colour, "order": {"field": "order"}},
            },
            {
                "data": {"values": lines},
                "mark": {"type": "point", "filled": True, "size": 45, "opacity": 1},
                "encoding": {**position, "color": colour, "shape": shape},
            },
            {
                "data": {"values": names},
                "mark": {"type": "text", "fontSize": 12},
                "encoding": {**position, "text": {"field": "text"}},
            },
        ],
    }
    more = f" The first {RADAR_ROWS} of {len(board.rows)} rows." if len(board.rows) > RADAR_ROWS else ""
    reading = (
        "Mean of an area's suites that every run has; rings at 25, 50, 75 and 100 %. Shapes overlap where runs do not "
        f"differ: read the tiers, not the areas inside.{more}"
    )
    return Plot("Areas side by side", reading, "Radar chart of mean score by area", spec)


def _pass_at_k(board: Board) -> Plot | None:
    points = []
    for row in board.rows[: len(SERIES)]:
        for suite, cell in row.cells.items():
            ks = {int(found[1]): m for name, m in cell.result.scores.metrics.items() if (found := _PASS_AT.match(name))}
            for k, metric in ks.items() if len(ks) > 1 else ():
                ends: dict[str, Any] = {"lo": 100 * metric.ci95[0], "hi": 100 * metric.ci95[1]}
                who: dict[str, Any] = {"run": one_line(row.run.label, 40), "suite": one_line(suite, 40)}
                points.append({**who, "k": k, "score": 100 * metric.value, **ends})
    if not points:
        return None
    order = list(dict.fromkeys(point["run"] for point in points))
    x = {
        "field": "k",
        "type": "quantitative",
        "scale": {"type": "log"},
        "axis": {"values": sorted({p["k"] for p in points})},
    }
    y = {"field": "score", "type": "quantitative", "scale": {"zero": False}, "title": "pass@k, %"}
    colour = {"field": "run", "type": "nominal", "scale": {"domain": order, "range": list(SERIES)}}
    band = {"y": {"field": "lo", "type": "quantitative"}, "y2": {"field": "hi"}}
    spec = {
        "data": {"values": points},
        "facet": {"field": "suite", "type": "nominal"},
        "columns": 3,
        "spec": {
            "width": 300,
            "height": 200,
            "encoding": {"x": x, "y": y, "color": colour},
            "layer": [
                {"mark": {"type": "area", "opacity": 0.15}, "encoding": band},
                {"mark": {"type": "line", "strokeWidth": 2}},
                {"mark": {"type": "point", "filled": True, "size": 40, "opacity": 1}},
            ],
        },
        "resolve": {"scale": {"y": "independent"}, "axis": {"x": "independent"}},
    }
    reading = "The chance that at least one of k samples passes (unbiased estimator), with the 95 % interval as a band."
    return Plot("What more samples bring", reading, "Line chart of pass at k by suite", spec)


_PASS_AT = re.compile(r"^pass@(\d+)$")
