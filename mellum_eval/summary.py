"""The small table that a run ends with."""

from __future__ import annotations

from collections.abc import Sequence

from mellum_eval.plan import PlannedSuite
from mellum_eval.records import Scores, SuiteScores

_HEAD = ("suite", "metric", "value", "95 % interval", "n", "unparsed", "infra")


def summary_lines(planned: Sequence[PlannedSuite], scores: Scores) -> list[str]:
    """One line a metric, in per cent, the suite's own metric first; suites in the plan's order."""
    rows: list[tuple[str, ...]] = [_HEAD]
    for suite in planned:
        line = scores.suites[suite.name]
        metric = suite.suite.metric
        names = sorted(line.metrics, key=lambda name: (name != metric, _natural(name)))
        for number, name in enumerate(names or [metric]):
            shown = f"{name} ↓" if suite.suite.lower_is_better and name == metric else name
            first = number == 0
            rates = (str(line.n), _percent(line.unparsed_rate), _percent(line.infra_error_rate))
            rows.append((suite.name if first else "", shown, *_numbers(line, name), *(rates if first else ("",) * 3)))
        for name, measure in sorted(line.measures.items()):
            interval = f"{measure.ci95[0]:.4g} to {measure.ci95[1]:.4g}"
            rows.append(("", f"{name} (no %)", f"{measure.value:.4g}", interval, "", "", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    left = (0, 1)
    lines = [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    for name, overall in scores.overall.items():
        if overall.value is None or overall.ci95 is None:
            lines.append(f"overall {name}: not given, these were not run: {', '.join(overall.missing)}")
        else:
            low, high = (_percent(end) for end in overall.ci95)
            lines.append(f"overall {name}: {_percent(overall.value)} ({low} to {high})")
    if scores.partial:
        lines.append("partial: not every sample has been judged")
    return lines


def _numbers(line: SuiteScores, name: str) -> tuple[str, str]:
    metric = line.metrics.get(name)
    if metric is None:
        return "-", "-"
    return _percent(metric.value), f"{100 * metric.ci95[0]:.1f} to {100 * metric.ci95[1]:.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _natural(name: str) -> tuple[str, int, str]:
    """pass@10 after pass@2."""
    head, _, tail = name.partition("@")
    digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
    return head, int(digits or 0), tail
