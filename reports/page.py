"""The shell of every page: one file, no request, no inline handler, everything escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from mellum_eval import __version__
from mellum_eval.terminal import printable


def template(name: str, **values: Any) -> Callable[..., str]:
    """A template with style, script and their hashes filled in; called with the rest of its values it gives the page.

    Every string that is not ours is made printable, then escaped by the template engine.
    """
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
    return partial(
        environment.get_template(name).render,
        style=Markup(style),
        script=Markup(script),
        style_hash=_csp_hash(style),
        script_hash=_csp_hash(script),
        version=__version__,
        **values,
    )


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
