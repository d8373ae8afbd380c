"""From run directories and baselines to the files of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mellum_eval.errors import UserError
from mellum_eval.jsonl import write_atomically
from reports.baselines import load
from reports.board import make_board
from reports.gather import gather
from reports.run import Notice

FORMATS = ("html", "md", "csv", "json")


@dataclass(frozen=True, slots=True)
class ReportPaths:
    """What was written, None where the format was not asked for, and what a reader must know.

    Attributes:
        html: The page.
        md: Markdown.
        csv: One number a line.
        json: Everything but the samples.
        notices: What was wrong with the input or is not complete, one line each; also in the files.
        partial: Whether anything that was asked for is missing.
    """

    html: Path | None
    md: Path | None
    csv: Path | None
    json: Path | None
    notices: tuple[Notice, ...]
    partial: bool

    @property
    def written(self) -> tuple[Path, ...]:
        """The files, in the order of `FORMATS`."""
        return tuple(path for path in (self.html, self.md, self.csv, self.json) if path is not None)


def build_report(
    run_dirs: Sequence[Path],
    *,
    baselines: Sequence[str] = (),
    out: Path,
    formats: Sequence[str] = FORMATS,
    workers: int = 1,
) -> ReportPaths:
    """Write a report on runs, with published baselines beside them or, without runs, alone.

    Run directories that are altered, unfinished or foreign become notices and the rest is reported, marked partial.
    The same input gives the same bytes.

    Args:
        run_dirs: Run directories.
        baselines: Names of published tables, see `reports.baselines.available`.
        out: Directory for the files, made if it is not there.
        formats: Some of `FORMATS`.
        workers: Processes to read with, see `reports.gather.gather`.

    Raises:
        UserError: An unknown baseline or format; `out` cannot be written; or there is nothing at all to report.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise UserError(f"no report format named {unknown[0]!r}; there are: {', '.join(FORMATS)}")
    published = [load(name) for name in dict.fromkeys(baselines)]
    found = gather(run_dirs, with_samples="html" in formats, workers=workers)
    notices = found.notices
    if not found.runs and not published:
        raise UserError("; ".join(n.text for n in notices) or "nothing to report: name a run directory or a baseline")
    board = make_board(found.runs, published, notices)
    contents: dict[str, str] = {}
    if "html" in formats:
        from reports.html import render_html

        contents["html"] = render_html(board, found.samples)
    if "md" in formats:
        from reports.markdown import render_markdown

        contents["md"] = render_markdown(board)
    if "csv" in formats or "json" in formats:
        from reports.tables import render_csv, render_json

        contents |= {
            kind: render(board) for kind, render in (("csv", render_csv), ("json", render_json)) if kind in formats
        }
    paths = {kind: _write(out, f"report.{kind}", text) for kind, text in contents.items()}
    return ReportPaths(
        paths.get("html"), paths.get("md"), paths.get("csv"), paths.get("json"), tuple(notices), board.partial
    )


def _write(out: Path, name: str, text: str) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / name, text)
    except (OSError, UserError) as error:
        what = str(error) if isinstance(error, UserError) else f"{out}: {error.strerror}"
        raise UserError(f"{what}; choose another --out") from None
    return out / name
