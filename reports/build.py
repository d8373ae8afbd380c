"""From run directories and baselines to the files of a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mellum_eval.errors import UserError
from reports.baselines import load
from reports.board import Board, make_board
from reports.gather import gather
from reports.lm_eval import file_names, is_results, read_results, results_of
from reports.run import Notice
from reports.samples import Samples
from reports.tables import render_csv, render_json
from reports.writing import write

FORMATS = ("html", "md", "csv", "json", "tex")
"""What is written unless told otherwise."""
MORE_FORMATS = ("card", "lm-eval")
"""What is written where it is asked for, one file a run: a model card, results as lm-evaluation-harness writes them."""


@dataclass(frozen=True, slots=True)
class ReportPaths:
    """What was written, and what a reader must know.

    Attributes:
        written: The files, in the order of the formats.
        notices: What was wrong with the input or is not complete, one line each; also in the files.
        partial: Whether anything that was asked for is missing.
        tracked: Where the runs went in experiment trackers.
    """

    written: tuple[Path, ...]
    notices: tuple[Notice, ...]
    partial: bool
    tracked: tuple[str, ...] = ()

    def of(self, kind: str) -> Path | None:
        """The report's file of one of `FORMATS`, None where it was not asked for."""
        return next((path for path in self.written if path.name == f"report.{kind}"), None)


def build_report(
    run_dirs: Sequence[Path],
    *,
    baselines: Sequence[str] = (),
    out: Path,
    formats: Sequence[str] = FORMATS,
    workers: int = 1,
    trackers: Sequence[str] = (),
) -> ReportPaths:
    """Write a report on runs, with published baselines beside them or, without runs, alone.

    Run directories that are altered, unfinished or foreign become notices and the rest is reported, marked partial.
    The same input gives the same bytes.

    Args:
        run_dirs: Run directories; files of lm-evaluation-harness (`results_*.json`) are shown beside them, apart.
        baselines: Names of published tables, see `reports.baselines.available`.
        out: Directory for the files, made if it is not there.
        formats: Some of `FORMATS` and `MORE_FORMATS`.
        workers: Processes to read with, see `reports.gather.gather`.
        trackers: Experiment trackers that get the runs' scores too, see `reports.tracking.track`.

    Raises:
        UserError: An unknown baseline, format or tracker; `out` cannot be written; or nothing at all to report.
        PrerequisiteMissing: A tracker's package is not installed.
    """
    known = (*FORMATS, *MORE_FORMATS)
    unknown = [name for name in formats if name not in known]
    if unknown:
        raise UserError(f"no report format named {unknown[0]!r}; there are: {', '.join(known)}")
    published = [load(name) for name in dict.fromkeys(baselines)]
    published += [read_results(path) for path in run_dirs if is_results(path)]
    run_dirs = [path for path in run_dirs if not is_results(path)]
    found = gather(run_dirs, with_samples="html" in formats, workers=workers)
    notices = found.notices
    if not found.runs and not published:
        raise UserError("; ".join(n.text for n in notices) or "nothing to report: name a run directory or a baseline")
    board = make_board(found.runs, published, notices)
    contents = {name: text for kind in known if kind in formats for name, text in _render(kind, board, found.samples)}
    written = tuple(write(out, name, text) for name, text in contents.items())
    tracked: list[str] = []
    for target in trackers:
        from reports.tracking import track

        tracked += track(board.rows, target)
    return ReportPaths(written, tuple(notices), board.partial, tuple(tracked))


def _render(kind: str, board: Board, samples: Samples) -> Iterator[tuple[str, str]]:
    """File name and text of each file of a format. What a format needs is imported where it is asked for."""
    if kind == "html":
        from reports.html import render_html

        yield "report.html", render_html(board, samples)
    elif kind == "md":
        from reports.markdown import render_markdown

        yield "report.md", render_markdown(board)
    elif kind == "csv":
        yield "report.csv", render_csv(board)
    elif kind == "json":
        yield "report.json", render_json(board)
    elif kind == "tex":
        from reports.latex import render_latex

        yield "report.tex", render_latex(board)
    elif kind == "lm-eval":
        for row, name in file_names(board):
            yield name, results_of(row)
    else:
        from reports.card import render_card

        for row, name in file_names(board):
            yield f"card/{Path(name).parent.name}.md", render_card(row)
