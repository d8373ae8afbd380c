"""Results in the form of lm-evaluation-harness, out for the tools that read it and in to be shown beside ours.

Its form: `results`: task → {`alias`, `METRIC,FILTER`, `METRIC_stderr,FILTER`}, with `versions`, `n-shot`, `n-samples`,
`higher_is_better` and `configs` by task beside it. What is read in was measured with another harness: it is shown like
published numbers, and takes part in no comparison.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mellum_eval import __version__
from mellum_eval.errors import UserError
from mellum_eval.terminal import printable
from reports.baselines import Baseline, Benchmark, PublishedModel, Source, Table
from reports.board import Board, Row
from reports.text import visible

_NAME = re.compile(r"^results(_.*)?\.json$")
_FILTER = "none"
_HARNESS = "https://github.com/EleutherAI/lm-evaluation-harness"


def is_results(path: Path) -> bool:
    """Whether a path is named as lm-evaluation-harness names its results."""
    return path.is_file() and _NAME.match(path.name) is not None


def file_names(board: Board) -> list[tuple[Row, str]]:
    """For each row the file its results go to, in the directories lm-evaluation-harness makes: a model each."""
    names: list[tuple[Row, str]] = []
    taken: set[str] = set()
    for row in board.rows:
        folder = name = re.sub(r"[^A-Za-z0-9._-]+", "__", row.run.label).strip(".")[:100] or "model"
        while folder in taken:  # labels that differ only in what a file name cannot hold
            folder = f"{name}-{len(taken)}"
        taken.add(folder)
        when = re.sub(r"[^0-9T.-]", "-", row.run.manifest.created.partition("+")[0])[:40]
        names.append((row, f"lm-eval/{folder}/results_{when}.json"))
    return names


def results_of(row: Row) -> str:
    """One run as `results_*.json`."""
    manifest = row.run.manifest
    tasks: dict[str, dict[str, Any]] = {}
    for suite, cell in row.cells.items():
        metrics = tasks[suite] = {"alias": suite}
        for name, metric in cell.result.scores.metrics.items():
            metrics[f"{name},{_FILTER}"] = metric.value
            metrics[f"{name}_stderr,{_FILTER}"] = metric.stderr
    cells = row.cells.items()
    data = {
        "results": tasks,
        "group_subtasks": {suite: [] for suite in tasks},
        "configs": {
            suite: {"task": suite, "metadata": {"version": cell.result.record.version}, **cell.result.record.sampling}
            for suite, cell in cells
        },
        "versions": {suite: cell.result.record.version for suite, cell in cells},
        "n-shot": {suite: cell.result.record.sampling.get("shots", 0) for suite, cell in cells},
        "higher_is_better": {
            suite: {cell.result.headline: not cell.result.record.lower_is_better} for suite, cell in cells
        },
        "n-samples": {
            suite: {"original": cell.result.record.problems, "effective": cell.result.scores.n} for suite, cell in cells
        },
        "config": {"model": manifest.model.get("scheme"), "model_args": manifest.spec},
        "git_hash": manifest.git,
        "model_name": row.run.label,
        "harness": f"mellum-eval {__version__}",
    }
    return json.dumps(visible(data), indent=2, ensure_ascii=True) + "\n"


def read_results(path: Path) -> Baseline:
    """Results of lm-evaluation-harness as a table of numbers measured elsewhere.

    Raises:
        UserError: The file is not of that form; the field is named.
    """
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    results = data.get("results") if isinstance(data, dict) else None
    if not isinstance(results, dict) or not results:
        raise UserError(f"{path}: results: not a mapping of tasks; is this a file of lm-evaluation-harness?")
    lower = data.get("higher_is_better") if isinstance(data.get("higher_is_better"), dict) else {}
    benchmarks: dict[str, Benchmark] = {}
    rows: dict[str, tuple[float | None, ...]] = {}
    for task, name, value, stderr in _numbers(path, results):
        key = f"{task}:{name}"
        directions = lower.get(task)
        benchmarks[key] = Benchmark(
            name=task,
            category="other",
            metric=name,
            lower_is_better=isinstance(directions, dict) and directions.get(name.partition(",")[0]) is False,
            note=None if stderr is None else f"standard error {100 * stderr:.2f}",
        )
        rows[key] = (round(100 * value, 4),)
    if not rows:
        raise UserError(f"{path}: results: no metric is a share between 0 and 1")
    model = printable(str(data.get("model_name") or _argument(data) or path.parent.name))
    return Baseline(
        name=str(path),
        title=f"lm-evaluation-harness, {model}",
        source=Source(citation=printable(f"lm-evaluation-harness results, {path}"), url=_HARNESS, retrieved=""),
        notes=("Measured with another harness; standard errors are its own.",),
        models={"model": PublishedModel(name=model, exact=False)},
        benchmarks=benchmarks,
        tables=(
            Table(
                id="results",
                title=model,
                locator=path.name,
                settings="As that harness was told.",
                columns=("model",),
                rows=rows,
            ),
        ),
    )


def _numbers(path: Path, results: dict[str, Any]) -> Iterator[tuple[str, str, float, float | None]]:
    for task, metrics in results.items():
        if not isinstance(metrics, dict):
            raise UserError(f"{path}: results.{task}: not a mapping of metrics")
        for name, value in metrics.items():
            metric, _, chosen = name.partition(",")
            if not chosen or metric.endswith("_stderr") or isinstance(value, bool):
                continue
            if isinstance(value, (int, float)) and math.isfinite(value) and 0.0 <= value <= 1.0:
                stderr = metrics.get(f"{metric}_stderr,{chosen}")
                known = isinstance(stderr, (int, float)) and math.isfinite(stderr)
                yield printable(task), printable(name.removesuffix(",none")), float(value), stderr if known else None


def _argument(data: dict[str, Any]) -> str | None:
    config = data.get("config")
    arguments = config.get("model_args") if isinstance(config, dict) else None
    if isinstance(arguments, dict):
        return str(arguments.get("pretrained") or "") or None
    found = re.search(r"pretrained=([^,]+)", arguments) if isinstance(arguments, str) else None
    return found[1] if found else None
