"""One run directory, read once: what is sound is taken, what is not is said, and the rest goes on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mellum_eval.errors import UserError
from mellum_eval.records import Judgement, Manifest, Metric, OverallScore, Scores, SuiteScores
from mellum_eval.store import RunStore, Slot
from reports.choosing import Choice
from reports.run import Notice, ProblemScores, Run, SuiteResult
from reports.samples import RankedSample, samples_of


@dataclass(frozen=True, slots=True)
class Reading:
    """What came out of one run directory.

    Attributes:
        run: None where the directory is no run at all.
        notices: What a reader must know of it.
        samples: A few of its answers, if they were asked for.
    """

    run: Run | None
    notices: tuple[Notice, ...]
    samples: tuple[RankedSample, ...] = ()


@dataclass(slots=True)
class _Tally:
    """What one problem's judged samples add up to."""

    cluster: str | None
    judged: int = 0
    passed: int = 0
    score: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Verdicts:
    """All verdicts of a run, added up.

    Attributes:
        tallies: Suite → problem → its samples.
        outcomes: By suite.
        choice: A few of them, to be shown.
    """

    tallies: dict[str, dict[str, _Tally]]
    outcomes: dict[str, Counter[str]]
    choice: Choice


def read_run(path: Path, *, with_samples: bool = False) -> Reading:
    """Read a run directory; what is wrong with it becomes notices, and nothing is raised."""
    notices: list[Notice] = []
    try:
        store = RunStore.open(path)
    except UserError as error:
        return Reading(None, (Notice(f"{error}; left out of this report", bad=True),))
    verdicts = _add_up(store, notices)
    run = _judge(store, verdicts, notices)
    samples: tuple[RankedSample, ...] = ()
    if with_samples and verdicts is not None:
        try:
            samples = tuple(samples_of(store, verdicts.choice.made(run.suites.keys())))
        except UserError as error:
            notices.append(Notice(f"{error}; its samples are not all shown", bad=True))
    return Reading(run, tuple(notices), samples)


def _judge(store: RunStore, verdicts: _Verdicts | None, notices: list[Notice]) -> Run:
    path, manifest = store.path, store.manifest
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
    if manifest.left_out:
        names = ", ".join(manifest.left_out)
        notices.append(Notice(f"{path}: not run, for their data was not at hand: {names}", bad=False))
    if manifest.too_long:
        names = ", ".join(manifest.too_long)
        notices.append(Notice(f"{path}: not run, for they do not fit the model's context: {names}", bad=False))
    if scores.partial:
        notices.append(Notice(f"{path}: partial, not every problem was answered; {go_on}", bad=False))
    records = {record.name: record for record in manifest.suites}
    suites: dict[str, SuiteResult] = {}
    unjudged: dict[str, SuiteScores] = {}
    partial = scores.partial or verdicts is None or bool(records.keys() - scores.suites.keys())
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
            tallies = {} if verdicts is None else verdicts.tallies.get(name, {})
            values = _values(tallies, line.metrics[headline], headline)
            suites[name] = SuiteResult(record, line, headline, values)
            # What is made of all documents together (an F1, a perplexity) is no mean of the verdicts' values.
            together = any(f"{headline}/0" in tally.parts for tally in tallies.values())
            field_name = verdicts and _disagrees(suites[name], verdicts.outcomes.get(name, Counter()), together)
            if field_name is not None:
                text = f"{path}/scores.json: suites.{name}.{field_name} does not agree with verdicts.jsonl"
                notices.append(Notice(f"{text}; one was altered; {anew}", bad=True))
                partial = True
    for missing in sorted(records.keys() - scores.suites.keys()):
        notices.append(Notice(f"{path}: suite {missing} has no scores yet; {go_on}", bad=False))
    overall, altered = _overall(scores)
    for name in altered:
        notices.append(
            Notice(
                f"{path}/scores.json: overall.{name}: not a share with its interval; the file was altered; {anew}", True
            )
        )
    return Run(path, label, manifest, partial or bool(altered), suites, unjudged, overall)


def _overall(scores: Scores) -> tuple[dict[str, OverallScore], list[str]]:
    """The overall scores that can be ones, and the names of those that cannot."""
    sound = {name: score for name, score in scores.overall.items() if _may_be(score)}
    return sound, [name for name in scores.overall if name not in sound]


def _may_be(score: OverallScore) -> bool:
    if score.value is None or score.ci95 is None or score.stderr is None:
        return score.value is None and bool(score.missing)
    return _is_share(score.value, score.ci95, score.stderr)


def _label(path: Path, manifest: Manifest) -> str:
    name, scheme = manifest.model.get("name"), manifest.model.get("scheme")
    if not name:
        return str(manifest.spec.get("model") or path.name)
    return f"mock:{name}" if scheme == "mock" else str(name)


def _is_share(value: float, ci95: tuple[float, float], stderr: float) -> bool:
    return 0.0 <= ci95[0] <= value <= ci95[1] <= 1.0 and 0.0 <= stderr < math.inf


def _impossible(line: SuiteScores) -> str | None:
    """What of a suite's scores can be no score at all, or None."""
    for name, metric in line.metrics.items():
        if not _is_share(metric.value, metric.ci95, metric.stderr):
            return f"metrics.{name}: not a share with its interval"
    for name, measure in line.measures.items():
        if not (-math.inf < measure.ci95[0] <= measure.value <= measure.ci95[1] < math.inf and measure.stderr >= 0.0):
            return f"measures.{name}: no number with its interval"
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


def _disagrees(result: SuiteResult, verdicts: Counter[str], together: bool) -> str | None:
    """The field of a suite's scores that its verdicts contradict, or None.

    Verdicts that came after the scores are no contradiction: a run that goes on writes its scores at the end.
    """
    counted = Counter(result.scores.outcomes)
    if counted - verdicts:
        return "outcomes"
    if counted == verdicts and not together and result.values is None and result.headline == result.record.metric:
        return f"metrics.{result.headline}.value"
    return None


def _add_up(store: RunStore, notices: list[Notice]) -> _Verdicts | None:
    """All verdicts; None where the file could not be read to its end."""
    try:
        # Once is enough where no verdict replaces another, which only a run that went on after infra errors has.
        found = _sum(store.judgements_written(), until_replaced=True)
        return found if found is not None else _sum(store.judgements())
    except UserError as error:
        notices.append(Notice(f"{error}; its problems cannot be compared one by one", bad=True))
        return None


def _sum(judgements: Iterable[Judgement], *, until_replaced: bool = False) -> _Verdicts | None:
    """Verdicts added up; None where one comes twice and that matters."""
    found = _Verdicts({}, {}, Choice())
    seen: set[Slot] = set()
    for judgement in judgements:
        if until_replaced:
            slot = judgement.key, judgement.sample
            if slot in seen:
                return None
            seen.add(slot)
        outcomes = found.outcomes.get(judgement.suite)
        if outcomes is None:
            outcomes = found.outcomes[judgement.suite] = Counter()
            found.tallies[judgement.suite] = {}
        outcomes[judgement.outcome] += 1
        tallies = found.tallies[judgement.suite]
        tally = tallies.get(judgement.problem)
        if tally is None:
            tally = tallies[judgement.problem] = _Tally(judgement.cluster)
        _add(tally, judgement)
        found.choice.add(judgement)
    return found


def _add(tally: _Tally, judgement: Judgement) -> None:
    if judgement.score is None:
        return
    tally.judged += 1
    tally.passed += judgement.outcome == "passed"
    tally.score += judgement.score
    for name, part in judgement.parts.items():
        tally.parts[name] = tally.parts.get(name, 0.0) + part


def _values(tallies: Mapping[str, _Tally], metric: Metric, name: str) -> ProblemScores | None:
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
            return ProblemScores.of({problem: (value, judged[problem].cluster) for problem, value in found.items()})
    return None
