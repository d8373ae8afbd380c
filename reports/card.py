"""A run as a section of a Hugging Face model card: a table for people, and `model-index` metadata for the hub.

The metadata is the front matter that the hub reads evaluation results from (huggingface.co/docs/hub/model-cards); the
section below it says what was measured and with which interval, which the metadata has no field for.
"""

from __future__ import annotations

import json
from typing import Any

from mellum_eval import __version__
from reports.board import Row
from reports.text import markdown, visible

_TASK = "text-generation"
_METRICS = {"pass@1": "code_eval", "accuracy": "accuracy", "exact_match": "exact_match"}


def render_card(row: Row) -> str:
    """The card of one run: front matter, then a section."""
    label = row.run.label
    out = ["---", _front_matter(row).rstrip(), "---", "", f"# {markdown(label)}", "", "## Evaluation", ""]
    out += [
        f"Measured with mellum-eval {__version__}, begun {markdown(row.run.manifest.created)}. "
        "Per cent, with 95 % intervals that cover the choice of problems.",
        "",
    ]
    if row.run.partial:
        out += ["**Partial: not every problem was answered and judged.**", ""]
    out += ["| Suite | Metric | Score | 95 % interval | Problems | Unparsed, % | Not judged, % |"]
    out += ["|---|---|---:|---:|---:|---:|---:|"]
    for suite, cell in row.cells.items():
        result = cell.result
        lo, hi = result.metric.ci95
        better = " ↓" if result.record.lower_is_better else ""
        out.append(
            f"| {markdown(suite)}{better} | {markdown(result.headline)} | {100 * result.metric.value:.1f} "
            f"| {100 * lo:.1f} – {100 * hi:.1f} | {result.scores.n} "
            f"| {100 * result.scores.unparsed_rate:.1f} | {100 * result.scores.infra_error_rate:.1f} |"
        )
    command = " ".join(row.run.manifest.command)
    return "\n".join([*out, "", f"Command: {markdown(command, 500)}", ""])


def _front_matter(row: Row) -> str:
    import yaml

    results: list[dict[str, Any]] = []
    for suite, cell in row.cells.items():
        result = cell.result
        kind = _METRICS.get(result.headline, result.headline)
        results.append(
            {
                "task": {"type": _TASK},
                "dataset": {"type": suite, "name": suite, "revision": result.record.version},
                "metrics": [{"type": kind, "name": result.headline, "value": round(100 * result.metric.value, 2)}],
            }
        )
    data = visible({"model-index": [{"name": row.run.label, "results": results}]})
    # Through JSON first: YAML's tags and anchors have no place here, whatever a name holds.
    return str(yaml.safe_dump(json.loads(json.dumps(data)), sort_keys=False, allow_unicode=False))
