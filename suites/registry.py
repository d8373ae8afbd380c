"""Suites by name: ours, those of other distributions, groups of them; imported only when asked for.

Other distributions add suites by the entry-point group `mellum_eval.suites` (name = the suite's, value =
`package.module:Class`); ours win where names clash.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from sandboxes.errors import SandboxUnavailable
from suites.catalogue import BRIDGES, ENTRIES, GROUPS, Entry

if TYPE_CHECKING:
    from suites.suite import Suite

ENTRY_POINTS = "mellum_eval.suites"

_BY_NAME = {entry.name: entry for entry in ENTRIES}


class UnknownSuite(LookupError):
    """No suite, group or variant has this name; the message has the nearest ones."""


def entries() -> tuple[Entry, ...]:
    """Every suite, plug-ins last; no suite is imported."""
    return ENTRIES + tuple(_plug_ins().values())


def expand(names: Iterable[str]) -> tuple[str, ...]:
    """Full names with groups replaced by their members, each once, in order.

    Raises:
        UnknownSuite: A name is neither a suite (with a variant of it) nor a group.
        SandboxUnavailable: It is a language of the benchmark's that nothing here can run.
    """
    found: dict[str, None] = {}
    for name in names:
        for member in GROUPS.get(name, (name,)):
            _parse(member)
            found[member] = None
    return tuple(found)


def get(full_name: str) -> Suite:
    """The suite of a `name` or `name:variant`, imported now. Its data is not read.

    Raises:
        UnknownSuite: No such suite or variant.
        SandboxUnavailable: As `expand`.
    """
    entry, variant = _parse(full_name)
    module, _, attribute = entry.target.partition(":")
    suite_class = cast("type[Suite]", getattr(importlib.import_module(module), attribute))
    known = entry.name in BRIDGES or entry.files or variant in suite_class.variants
    if variant is not None and not known:  # a plug-in's variants are known only now
        raise _no_variant(entry.name, variant, suite_class.variants)
    return suite_class(variant)


def _parse(full_name: str) -> tuple[Entry, str | None]:
    name, separator, variant = full_name.partition(":")
    entry = _BY_NAME.get(name)
    if entry is not None:
        if variant in entry.without_tools:
            raise SandboxUnavailable(
                f"{full_name} cannot be judged: no sandbox image has the tools of {variant!r}",
                f"choose from {', '.join(f'{name}:{there}' for there in entry.variants)}",
            )
        if separator and variant not in entry.variants and not variant.endswith(entry.files or (":",)):
            raise _no_variant(name, variant, entry.variants)
        return entry, variant if separator else None
    if name in BRIDGES:
        if not variant:
            raise UnknownSuite(f"{name}: name a task, as in {name}:arc_easy or {name}:/path/task.yaml")
        return BRIDGES[name], variant
    plug_ins = _plug_ins()
    if name in plug_ins:
        return plug_ins[name], variant if separator else None
    known = [*_BY_NAME, *BRIDGES, *plug_ins, *GROUPS]
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "see `mellum-eval suites list`"
    raise UnknownSuite(f"unknown suite {name!r}: {hint}")


def _no_variant(name: str, variant: str, variants: tuple[str, ...]) -> UnknownSuite:
    there_are = f"its variants are {', '.join(variants)}" if variants else "it has no variants"
    return UnknownSuite(f"suite {name!r} has no variant {variant!r}: {there_are}")


def _plug_ins() -> dict[str, Entry]:
    from importlib.metadata import entry_points

    return {
        point.name: Entry(point.name, point.value, "plug-in", f"from {point.dist.name if point.dist else point.value}")
        for point in entry_points(group=ENTRY_POINTS)
        if point.name not in _BY_NAME
    }
