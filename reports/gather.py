"""Run directories as a report sees them: what is sound is taken, what is not is said, and the rest goes on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mellum_eval.errors import UserError
from mellum_eval.records import Judgement, Manifest, Metric, SuiteRecord, SuiteScores
from mellum_eval.store import RunStore


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a reader must know of the report's sources.

    Attributes:
        text: One line naming the directory, file or field, and the mend.
        bad: Whether the input was wrong, not merely unfinished.
    """

    text: str
    bad: bool


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """One run's result on one suite.

    Attributes:
        record: The suite as the manifest has it.
        scores: The suite's line of `scores.json`.
        headline: Name of the metric that the leaderboard shows, one of `scores.metrics`.
        values: Problem → (score, cluster), whose mean is the headline metric; None where the metric is no mean over
            problems or the verdicts are not at hand. Paired comparisons rest on it.
    """

    record: SuiteRecord
    scores: SuiteScores
    headline: str
    values: Mapping[str, tuple[float, str | None]] | None

    @property
    def metric(self) -> Metric:
        """The headline metric's number and interval."""
        return self.scores.metrics[self.headline]

    @property
    def identity(self) -> str:
        """The same for two results if and only if the suite asked the same: its version and its data."""
        return repr((self.record.version, sorted(self.record.data.items())))


@dataclass(frozen=True, slots=True)
class Run:
    """One run directory."""

    path: Path
    label: str
    manifest: Manifest
    partial: bool
    suites: dict[str, SuiteResult]
    unjudged: dict[str, SuiteScores] = field(default_factory=dict)
    """Suites of which no answer could be judged: outcomes, but no number."""

    @property
    def parameters(self) -> tuple[float | None, float | None]:
        """Total and active parameters in billions, None where the manifest does not say."""
        given = self.manifest.model.get("parameters")
        given = given if isinstance(given, dict) else {}
        total, active = (_billions(given.get(name)) for name in ("total", "active"))
        return total, active


@dataclass(slots=True)
class _Tally:
    """What one problem's judged samples add up to."""

    cluster: str | None
    judged: int = 0
    passed: int = 0
    score: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)


def gather(paths: Sequence[Path]) -> tuple[list[Run], list[Notice]]:
    """Read run directories, in the given order; whatever cannot be read becomes a notice."""
    runs: list[Run] = []
    notices: list[Notice] = []
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            notices.append(Notice(f"{path}: given more than once, taken once", bad=False))
            continue
        seen.add(path.resolve())
        try:
            runs.append(_read(path, notices))
        except UserError as error:
            notices.append(Notice(f"{error}; left out of this report", bad=True))
    labelled = _told_apart(runs)
    notices.extend(_not_comparable(labelled))
    return labelled, notices


def _told_apart(runs: Sequence[Run]) -> list[Run]:
    """The runs with labels that are unlike: the model's name, with the directory's or its path where that is needed."""
    told = list(runs)
    for where in (lambda run: run.path.resolve().name, lambda run: str(run.path.resolve())):
        named = Counter(run.label for run in told)
        told = [
            replace(run, label=f"{given.label} ({where(run)})") if named[run.label] > 1 else run
            for given, run in zip(runs, told, strict=True)
        ]
    return told


def _read(path: Path, notices: list[Notice]) -> Run:
    store = RunStore.open(path)
    manifest = store.manifest
    label = _label(path, manifest)
    anew = f"`mellum-eval rescore {path}` makes it anew"
    go_on = f"`mellum-eval run --resume --out {path}` goes on with it"
    try:
        scores = store.scores()
    except UserError as error:
        notices.append(Notice(f"{error}; {anew}", bad=True))
        return Run(path, label, manifest, True, {})
    if scores is None:
        notices.append(Notice(f"{path}: no scores.json, the run has not ended; {go_on}", bad=False))
        return Run(path, label, manifest, True, {})
    if scores.partial:
        notices.append(Notice(f"{path}: partial, not every problem was answered; {go_on}", bad=False))
    tallies, outcomes = _tally(store, notices)
    records = {record.name: record for record in manifest.suites}
    suites: dict[str, SuiteResult] = {}
    unjudged: dict[str, SuiteScores] = {}
    partial = scores.partial or outcomes is None or bool(records.keys() - scores.suites.keys())
    for name, line in scores.suites.items():
        record = records.get(name)
        if record is None:
            text = f"{path}/scores.json: suites.{name} is not in run.json; one was altered; {anew}"
            notices.append(Notice(text, bad=True))
            partial = True
        elif (wrong := _impossible(line)) is not None:
            text = f"{path}/scores.json: suites.{name}.{wrong}; the file was altered; {anew}"
            notices.append(Notice(text, bad=True))
            partial = True
        elif not line.metrics:
            notices.append(Notice(f"{path}: suite {name}: not one answer could be judged; {anew}", bad=False))
            unjudged[name] = line
            partial = True
        else:
            headline = record.metric if record.metric in line.metrics else next(iter(line.metrics))
            values = _values(tallies.get(name, {}), line.metrics[headline], headline)
            suites[name] = SuiteResult(record, line, headline, values)
            field_name = None if outcomes is None else _disagrees(suites[name], outcomes.get(name, Counter()))
            if field_name is not None:
                text = f"{path}/scores.json: suites.{name}.{field_name} does not agree with verdicts.jsonl"
                notices.append(Notice(f"{text}; one was altered; {anew}", bad=True))
                partial = True
    for missing in sorted(records.keys() - scores.suites.keys()):
        notices.append(Notice(f"{path}: suite {missing} has no scores yet; {go_on}", bad=False))
    return Run(path, label, manifest, partial, suites, unjudged)


def _label(path: Path, manifest: Manifest) -> str:
    name, scheme = manifest.model.get("name"), manifest.model.get("scheme")
    if not name:
        return str(manifest.spec.get("model") or path.name)
    return f"mock:{name}" if scheme == "mock" else str(name)


def _impossible(line: SuiteScores) -> str | None:
    """What of a suite's scores can be no score at all, or None."""
    for name, metric in line.metrics.items():
        lo, hi = metric.ci95
        if not (0.0 <= lo <= metric.value <= hi <= 1.0 and 0.0 <= metric.stderr < math.inf):
            return f"metrics.{name}: not a share with its interval"
    for name, count in line.outcomes.items():
        if count < 0:
            return f"outcomes.{name}: {count} is not a count"
    for name, number in (("unparsed_rate", line.unparsed_rate), ("infra_error_rate", line.infra_error_rate)):
        if not 0.0 <= number <= 1.0:
            return f"{name}: {number} is not a share"
    for name, number in line.tokens.items():
        if not 0.0 <= number < math.inf:
            return f"tokens.{name}: {number} is not a mean of counts"
    return None


def _disagrees(result: SuiteResult, verdicts: Counter[str]) -> str | None:
    """The field of a suite's scores that its verdicts contradict, or None.

    Verdicts that came after the scores are no contradiction: a run that goes on writes its scores at the end.
    """
    counted = Counter(result.scores.outcomes)
    if counted - verdicts:
        return "outcomes"
    if counted == verdicts and result.values is None and result.headline == result.record.metric:
        return f"metrics.{result.headline}.value"
    return None


def _tally(
    store: RunStore, notices: list[Notice]
) -> tuple[dict[str, dict[str, _Tally]], dict[str, Counter[str]] | None]:
    """Verdicts by suite and problem, and outcomes by suite; None where the file could not be read to its end."""
    tallies: dict[str, dict[str, _Tally]] = {}
    outcomes: dict[str, Counter[str]] = {}
    try:
        for judgement in store.judgements():
            outcomes.setdefault(judgement.suite, Counter())[judgement.outcome] += 1
            of_suite = tallies.setdefault(judgement.suite, {})
            _add(of_suite.setdefault(judgement.problem, _Tally(judgement.cluster)), judgement)
    except UserError as error:
        notices.append(Notice(f"{error}; its problems cannot be compared one by one", bad=True))
        return {}, None
    return tallies, outcomes


def _add(tally: _Tally, judgement: Judgement) -> None:
    if judgement.score is None:
        return
    tally.judged += 1
    tally.passed += judgement.outcome == "passed"
    tally.score += judgement.score
    for name, part in judgement.parts.items():
        tally.parts[name] = tally.parts.get(name, 0.0) + part


def _values(tallies: Mapping[str, _Tally], metric: Metric, name: str) -> dict[str, tuple[float, str | None]] | None:
    """Scores by problem whose mean is the metric, found by trying what a metric may be the mean of.

    What each metric counts is the suites' business. That the mean comes out right is the proof that the right thing
    was found; a metric that is no mean over problems (a macro-average) is compared unpaired.
    """
    judged = {problem: tally for problem, tally in tallies.items() if tally.judged}
    if not judged:
        return None
    for found in (
        {p: t.passed / t.judged for p, t in judged.items()},
        {p: t.score / t.judged for p, t in judged.items()},
        {p: t.parts.get(name, 0.0) / t.judged for p, t in judged.items()},
    ):
        if math.isclose(math.fsum(found.values()) / len(found), metric.value, rel_tol=1e-9, abs_tol=1e-9):
            return {problem: (value, judged[problem].cluster) for problem, value in found.items()}
    return None


def _not_comparable(runs: Sequence[Run]) -> list[Notice]:
    """One notice for each suite whose version or data differ between runs."""
    found: dict[str, dict[str, str]] = {}
    for run in runs:
        for name, result in run.suites.items():
            found.setdefault(name, {}).setdefault(result.identity, run.label)
    return [
        Notice(f"suite {name}: {' and '.join(labels.values())} differ in its version or data; not ranked", bad=False)
        for name, labels in found.items()
        if len(labels) > 1
    ]


def _billions(count: object) -> float | None:
    if isinstance(count, bool) or not isinstance(count, (int, float)) or not math.isfinite(count) or count <= 0:
        return None
    return count / 1e9
