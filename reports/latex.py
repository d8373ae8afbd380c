"""The report as LaTeX tables (booktabs), one an area, ready to be put into a paper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mellum_eval.records import OverallScore
from reports.baselines import Baseline, PublishedModel
from reports.board import Board, Cell
from reports.text import latex


def render_latex(board: Board) -> str:
    """Measured tables by area, then published ones, each apart and saying which it is."""
    out = ["% Made by mellum-eval report. Needs \\usepackage{booktabs}."]
    for area, columns in board.groups:
        heads = [latex(c.suite) + (" $\\downarrow$" if c.lower_is_better else "") for c in columns]
        units = [latex(c.metric) for c in columns]
        rows = [
            [latex(row.run.label), *(_cell(row.cells.get(column.suite)) for column in columns)] for row in board.rows
        ]
        caption = f"{latex(area.capitalize())}: per cent, 95\\,\\% interval. Bold: the best, and all tied with it."
        out += _table(caption, ["Model", *heads], ["", *units], rows)
    if board.overall:
        rows = [
            [latex(row.run.label), *(_overall(row.run.overall.get(name)) for name in board.overall)]
            for row in board.rows
            if row.run.overall
        ]
        caption = "Over several suites: per cent, 95\\,\\% interval."
        out += _table(caption, ["Model", *map(latex, board.overall)], None, rows)
    for baseline in board.baselines:
        out += _published(baseline)
    return "\n".join(out) + "\n"


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "--"
    metric = cell.result.metric
    value = f"{100 * metric.value:.1f}"
    return _with_interval(f"\\textbf{{{value}}}" if cell.best else value, metric.ci95)


def _overall(score: OverallScore | None) -> str:
    if score is None or score.value is None or score.ci95 is None:
        return "--"
    return _with_interval(f"{100 * score.value:.1f}", score.ci95)


def _with_interval(value: str, ci95: tuple[float, float]) -> str:
    return f"{value} {{\\scriptsize [{100 * ci95[0]:.1f}--{100 * ci95[1]:.1f}]}}"


def _published(baseline: Baseline) -> list[str]:
    out: list[str] = []
    for table in baseline.tables:
        models = [baseline.models[key] for key in table.columns]
        rows = []
        for key, values in table.rows.items():
            benchmark = baseline.benchmarks[key]
            name = latex(benchmark.name) + (" $\\downarrow$" if benchmark.lower_is_better else "")
            rows.append([name, *("--" if value is None else f"{value:.1f}" for value in values)])
        caption = f"Not measured with this harness: {latex(baseline.title)}, {latex(table.title)}."
        out += _table(caption, ["Benchmark", *map(_model, models)], None, rows)
    return out


def _model(model: PublishedModel) -> str:
    return latex(model.name)


def _table(caption: str, heads: Sequence[str], units: Sequence[str] | None, rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["\\begin{table}", "\\centering", f"\\caption{{{caption}}}"]
    lines += [f"\\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}", "\\toprule", " & ".join(heads) + " \\\\"]
    if units is not None:
        lines.append(" & ".join(f"{{\\scriptsize {unit}}}" if unit else "" for unit in units) + " \\\\")
    lines += ["\\midrule", *(" & ".join(row) + " \\\\" for row in rows), "\\bottomrule", "\\end{tabular}"]
    return ["", *lines, "\\end{table}"]
