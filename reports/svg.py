"""Vega-Lite specifications as inline SVG: drawn when the report is made, so the page needs no script for them.

vl-convert (the renderer of the Vega project, in process) draws; what comes out is parsed and rebuilt from the few
elements and attributes that a chart needs, so a model's name can be nothing but text. Colours are placeholders in the
specification and CSS variables in the page, which follows the reader's theme.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup, escape

INK, SOFT, LINE, CARD, ACCENT = "#010101", "#020202", "#030303", "#040404", "#050505"
SERIES = tuple(f"#0600{i:02x}" for i in range(8))
"""Colours told apart by readers with any form of colour blindness (Okabe and Ito's), in order of use."""
_VARIABLES = {INK: "--ink", SOFT: "--soft", LINE: "--line", CARD: "--card", ACCENT: "--accent"} | {
    colour: f"--s{i}" for i, colour in enumerate(SERIES)
}
_ELEMENTS = frozenset({"svg", "g", "path", "line", "rect", "circle", "text", "tspan"})
_ATTRIBUTES = frozenset({
    "width", "height", "viewBox", "transform", "d", "x", "y", "x1", "x2", "y1", "y2", "dx", "dy", "cx", "cy", "r",
    "fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-miterlimit",
    "stroke-linejoin", "opacity", "text-anchor", "font-size", "font-weight", "font-style",
})  # fmt: skip
_LONG = re.compile(r"\d+\.\d{2,}")
"""Coordinates finer than anyone sees: half of a chart's bytes."""
_CONFIG: dict[str, Any] = {
    "aria": False,
    "background": None,
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": SOFT, "titleColor": SOFT, "gridColor": LINE, "domainColor": LINE, "tickColor": LINE,
        "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal",
    },
    "header": {"labelColor": INK, "labelFontSize": 12, "labelFontWeight": "bold", "title": None},
    "legend": {"labelColor": INK, "labelFontSize": 12, "title": None, "symbolSize": 90, "labelLimit": 260},
    "text": {"color": INK, "fontSize": 11},
}  # fmt: skip


def available() -> bool:
    """Whether plots can be drawn here: the extra `report` is installed."""
    return find_spec("vl_convert") is not None


def draw(spec: Mapping[str, Any], label: str) -> Markup:
    """A Vega-Lite specification as an inline SVG element, `label` telling those who cannot see it what it shows."""
    import vl_convert

    source = vl_convert.vegalite_to_svg({"config": _CONFIG, **spec})
    root = ElementTree.fromstring(source)
    wide = float(root.get("width", "0"))
    inner = Markup("").join(_rebuilt(child) for child in root)
    view = escape(root.get("viewBox", ""))
    return Markup('<svg class="plot-svg" role="img" aria-label="{}" viewBox="{}" width="{}">{}</svg>').format(
        label, view, math.ceil(wide), inner
    )


def _rebuilt(element: ElementTree.Element) -> Markup:
    name = element.tag.rpartition("}")[2]
    if name not in _ELEMENTS:
        return Markup("")
    attributes = Markup("").join(
        Markup(' {}="{}"').format(key, _shown(value)) for key, value in element.items() if key in _ATTRIBUTES
    )
    body = escape(element.text or "") if name in ("text", "tspan") else Markup("")
    body += Markup("").join(_rebuilt(child) for child in element)
    if not body and name in ("g", "text", "tspan"):
        return Markup("")
    return Markup("<{0}{1}>{2}</{0}>").format(name, attributes, body) if body else Markup(f"<{name}{attributes}/>")


def _shown(value: str) -> str:
    variable = _VARIABLES.get(value)
    return f"var({variable})" if variable else _LONG.sub(lambda number: f"{float(number[0]):.1f}", value)
