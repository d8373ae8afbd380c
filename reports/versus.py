"""Two runs compared, as one HTML file: the differences with their intervals, and the problems that flipped."""

from __future__ import annotations

from collections.abc import Sequence

from reports.comparing import SuiteComparison
from reports.flips import Flip
from reports.page import template
from reports.run import Run
from reports.text import script_json

_PAGE = 1_400_000
"""Characters of flipped problems in a page at most."""


def render_versus(a: Run, b: Run, rows: Sequence[SuiteComparison], found: Sequence[Flip]) -> str:
    """The page; problems beyond what a page can hold are counted, not shown."""
    shown: list[Flip] = []
    size = 0
    for flip in found:
        size += sum(len(script_json(side)) for side in (flip.a, flip.b) if side is not None)
        if size > _PAGE:
            break
        shown.append(flip)
    widest = max((abs(end) for row in rows for end in (row.paired.lo, row.paired.hi)), default=0.0) or 1.0
    lower = {name for name, result in a.suites.items() if result.record.lower_is_better}
    render = template("compare.html", a=a, b=b, rows=rows, flips=shown, left_out=len(found) - len(shown), lower=lower)
    return render(scale=widest, methods=sorted({row.paired.method for row in rows})) + "\n"
