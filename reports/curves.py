"""Curves of training runs as one HTML file: loss, learning rate, speed, load of the experts, rewards.

A panel is a few fields of the log's lines; a run without them has no line in it, and a panel without lines is left out.
A run longer than the panel has points for is drawn as means over equal parts.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mellum_eval.terminal import one_line
from reports import svg
from reports.page import template
from reports.plots import Plot
from reports.run import Notice
from reports.svg import SERIES
from reports.training_log import TrainingLog

POINTS = 300
"""Of a line at most: more than a panel has pixels for."""
RUNS = len(SERIES)
"""Told apart by colour at most."""
_LAST = 20


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart.

    Attributes:
        title: Heading.
        unit: Of the vertical axis.
        reading: What the fields are.
        fields: Kind of line and name of field, and how the legend calls it.
        log: Whether the axis is logarithmic.
    """

    title: str
    unit: str
    reading: str
    fields: tuple[tuple[str, str, str], ...]
    log: bool = False


PANELS = (
    Panel(
        "Loss",
        "nats a token",
        "Cross-entropy of the next token, of the token after it (MTP head), and of held-out rows.",
        (("step", "loss", "next token"), ("step", "mtp", "MTP head"), ("evaluation", "loss", "held-out")),
    ),
    Panel("Learning rate", "", "Of the step.", (("step", "lr", "learning rate"),)),
    Panel(
        "MTP agreement",
        "share",
        "How often the MTP head's best token is the label: the acceptance to expect of it as a draft.",
        (("step", "mtp_agreement", "training"), ("evaluation", "mtp_agreement", "held-out")),
    ),
    Panel(
        "Load of the experts",
        "even shares",
        "Tokens of the busiest and of the idlest expert of any layer in a step; 1 is perfect balance, 0 a dead expert.",
        (("step", "load_max", "busiest"), ("step", "load_min", "idlest")),
    ),
    Panel(
        "Router losses",
        "",
        "Load balance (1 is perfect) and the router's z-loss, both before their weights.",
        (("step", "balance", "balance"), ("step", "z", "z")),
    ),
    Panel(
        "Gradient norm",
        "",
        "Of the whole gradient, before clipping; the axis is logarithmic.",
        (("step", "grad_norm", "norm"),),
        log=True,
    ),
    Panel(
        "Reward",
        "share",
        "Of reinforcement: what verifiers gave to drawn answers, how many were right, and held-out tasks, greedy.",
        (("step", "reward", "reward"), ("step", "pass@1", "drawn, right"), ("validation", "pass@1", "held-out, right")),
    ),
    Panel(
        "Answers",
        "tokens",
        "Mean length of drawn and of held-out answers, reasoning included.",
        (("step", "length", "drawn"), ("validation", "length", "held-out")),
    ),
    Panel("Entropy", "nats a token", "Of what each learnt token was chosen from.", (("step", "entropy", "entropy"),)),
    Panel(
        "Tokens held back",
        "share",
        "Learnt tokens whose ratio was clipped, and those left out because sampler and trainer disagreed (IcePop).",
        (("step", "clip_share", "clipped"), ("step", "masked_share", "masked")),
    ),
    Panel(
        "Groups and rollouts not learnt from",
        "of a step",
        "Groups of equal rewards; rollouts that could not be judged; answers cut off at the cap; attempts to tamper.",
        (
            ("step", "dropped_even", "even groups"),
            ("step", "dropped_unjudged", "not judged"),
            ("step", "dropped_cut", "cut off"),
            ("step", "tampered", "tampered"),
        ),
    ),
    Panel(
        "Waiting",
        "seconds of a step",
        "How long training waited for rollouts and for verdicts, beside the time that it trained.",
        (
            ("step", "waiting_on_rollouts_s", "for rollouts"),
            ("step", "waiting_on_verdicts_s", "for verdicts"),
            ("step", "training_s", "training"),
        ),
    ),
    Panel("Speed", "tokens/s", "Tokens of a step over its seconds, padding included.", (("step", "tokens_per_s", ""),)),
)


@dataclass(frozen=True, slots=True)
class Row:
    """What the table says of a run; None where its log does not."""

    log: TrainingLog
    steps: int
    planned: int | None
    tokens: int | None
    first: float | None
    last: float | None
    held_out: float | None
    speed: float | None
    command: str


def render_curves(logs: Sequence[TrainingLog], notices: Sequence[Notice]) -> str:
    """The page."""
    drawn = []
    if svg.available():
        for panel in PANELS:
            plot = plot_of(panel, logs[:RUNS])
            if plot is not None:
                drawn.append((plot, svg.draw(plot.spec, plot.label)))
    alarms = [(log.label, line) for log in logs for line in log.lines.get("alarm", ())]
    render = template(
        "training.html", rows=[row_of(log) for log in logs], drawn=drawn, undrawn=not svg.available(), alarms=alarms,
        notices=notices, left_out=[log.label for log in logs[RUNS:]],
    )  # fmt: skip
    return render() + "\n"


def row_of(log: TrainingLog) -> Row:
    """A run's numbers; losses are means over twenty steps, because single ones jump."""
    losses = [value for _, value in log.series("step", "loss")]
    held_out = [value for _, value in log.series("evaluation", "loss")]
    speeds = [value for _, value in log.series("step", "tokens_per_s")]
    tokens = [value for _, value in log.series("step", "tokens")]
    steps = log.lines.get("step", [])
    planned, command = log.manifest.get("steps"), log.manifest.get("command")
    return Row(
        log,
        steps=steps[-1]["step"] if steps else 0,
        planned=planned if isinstance(planned, int) else None,
        tokens=int(tokens[-1]) if tokens else None,
        first=statistics.fmean(losses[:_LAST]) if losses else None,
        last=statistics.fmean(losses[-_LAST:]) if losses else None,
        held_out=held_out[-1] if held_out else None,
        speed=statistics.median(speeds) if speeds else None,
        command=one_line(command, 200) if isinstance(command, str) else "",
    )


def plot_of(panel: Panel, logs: Sequence[TrainingLog]) -> Plot | None:
    """A panel's chart, None where no run has its fields."""
    names = {log.label: one_line(log.label, 40) for log in logs}
    points: list[dict[str, Any]] = []
    for log in logs:
        for kind, name, said in panel.fields:
            values = [point for point in log.series(kind, name) if point[1] > 0 or not panel.log]
            points += [
                {"run": names[log.label], "what": said, "step": step, "value": value} for step, value in thinned(values)
            ]
    if not points:
        return None
    legend = [said for _, _, said in panel.fields if any(point["what"] == said for point in points)]
    encoding: dict[str, Any] = {
        "x": {"field": "step", "type": "quantitative", "title": "step", "scale": {"nice": False}},
        "y": {
            "field": "value",
            "type": "quantitative",
            "title": panel.unit or None,
            "scale": {"type": "log"} if panel.log else {"zero": False},
        },
        "color": {
            "field": "run",
            "type": "nominal",
            "scale": {"domain": list(names.values()), "range": list(SERIES)},
        },
    }
    if len(legend) > 1:
        encoding["strokeDash"] = {
            "field": "what",
            "type": "nominal",
            "scale": {"domain": legend, "range": [[1, 0], [6, 3], [2, 2], [8, 2, 2, 2]]},
        }
    spec = {
        "data": {"values": points},
        "width": 620,
        "height": 220,
        "mark": {"type": "line", "strokeWidth": 1.5},
        "encoding": encoding,
    }
    return Plot(panel.title, panel.reading, f"Line chart of {panel.title.lower()} by step", spec)


def thinned(values: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    """At most `POINTS` points, each the mean of an equal part."""
    each = math.ceil(len(values) / POINTS) or 1
    parts = [values[first : first + each] for first in range(0, len(values), each)]
    return [
        (statistics.fmean(step for step, _ in part), statistics.fmean(value for _, value in part)) for part in parts
    ]


def build_curves(logs: Sequence[TrainingLog], notices: Sequence[Notice], out: Path) -> Path:
    """Write `training.html`.

    Raises:
        UserError: It cannot be written.
    """
    from reports.writing import write

    return write(out, "training.html", render_curves(logs, notices))
