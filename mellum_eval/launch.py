"""A run from spec to scores: opens what it needs, cheapest first, so that what is missing shows before what is slow."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mellum_eval.backends.base import Backend
from mellum_eval.backends.registry import check_scheme, open_backend
from mellum_eval.errors import PrerequisiteMissing, UserError
from mellum_eval.judge import JudgesApart, identity_of, opened, require_judge
from mellum_eval.lengths import fit
from mellum_eval.manifest import left_out, make_manifest, now, redacted, versions
from mellum_eval.pipeline import Pipeline, Watcher, computes_checks
from mellum_eval.plan import PlannedSuite, Question, load_suites, offers_tools, plan
from mellum_eval.records import Judgement, Scores
from mellum_eval.resuming import check_same, merged_spec
from mellum_eval.spec import RunSpec
from mellum_eval.spending import cost, spent_line
from mellum_eval.store import RunStore
from sandboxes.choose import open_sandbox
from sandboxes.errors import SandboxError, SandboxUnavailable
from sandboxes.pool import SandboxPool
from sandboxes.verifiers import NEEDS_SANDBOX
from sandboxes.verify import Judges, Verifiers, require_languages
from suites.problem import Problem
from suites.suite import Suite

if TYPE_CHECKING:
    from mellum_eval.cluster import ClusterVerifiers

DEFAULT_MODEL = "nano"
DEFAULT_SUITES = ("quick",)
CLUSTER_NODES = 16
"""Nodes that are kept fed with answers to judge; with more, they take turns."""
Say = Callable[[str], None]
Watch = Callable[[Sequence[PlannedSuite]], Watcher]
Loaded = Sequence[tuple[Suite, list[Problem]]]


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that came to its end.

    Attributes:
        path: Its directory.
        planned: What was asked.
        scores: What came out.
        troubles: For each suite with infra errors, its name and the commonest message.
    """

    path: Path
    planned: list[PlannedSuite]
    scores: Scores
    troubles: dict[str, str]
    spent: str = ""
    """Tokens of all completions, and what they cost."""
    time: str = ""
    """How long it took, by halves."""


def default_out(model: str, root: Path = Path("runs")) -> Path:
    """`runs/<UTC time>-<model>`, a name that is not taken."""
    stem = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{slug(model)}"
    names = (stem if number == 1 else f"{stem}-{number}" for number in range(1, 10_000))
    return next(root / name for name in names if not (root / name).exists())


def slug(model: str) -> str:
    """A model's name as part of a file name, without its address."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", model.partition("@http")[0]).strip("-.")[-60:] or "model"


async def run(spec: RunSpec, out: Path, *, resume: bool, say: Say, watch: Watch, provider: str = "") -> Finished:
    """Run, or go on with a run.

    Args:
        spec: What to do; of a resumed run only what was given anew.
        out: The run's directory.
        resume: Go on with the run that is there.
        say: Takes lines for the user.
        watch: Makes the watcher once the plan is known.
        provider: `module:function` by which a node of a cluster provides the schemes that this package may not import.

    Raises:
        UserError, PrerequisiteMissing, SandboxUnavailable, SourceMissing, SourceAltered: Nothing that was done is lost.
    """
    unnamed = spec.model is None
    if resume:
        begun = RunStore.open(out).manifest
        spec = merged_spec(begun, spec)
    else:
        begun = None
        spec = with_defaults(spec)
    check_scheme(spec.model or DEFAULT_MODEL, spec.backend)
    absent = [path for path in (out, *out.parents) if not path.exists()]
    if begun is None:
        RunStore.check_free(out)
    try:
        loaded = load_suites(spec, asking=True)
        require_judge(spec, [suite for suite, _ in loaded])
        for name in left_out(spec, [suite for suite, _ in loaded]):
            say(f"{name} is left out: what it needs is not at hand")
        if begun is None and unnamed:
            say(f"no model given: {DEFAULT_MODEL}, the bundled model of 1.9 M parameters")
        async with contextlib.AsyncExitStack() as stack:
            judge = await stack.enter_async_context(opened(spec))
            verifiers = await stack.enter_async_context(Verifiers(_opener(spec, say), judge=judge))
            judges: Judges | JudgesApart = verifiers
            if spec.ray is None:
                pool = await _ready(verifiers, loaded) if _needs_sandbox(loaded, asking=True) else None
                judging = pool
            else:
                # What runs between a model's turns, and reference solutions, stay here.
                pool = await _ready(verifiers, loaded) if _runs_here(loaded) else None
                judging = await _cluster(spec, say).ready() if _needs_sandbox(loaded, asking=False) else None
                if judging is not None:
                    judges = JudgesApart(verifiers, await stack.enter_async_context(judging))
            backend = await _backend(spec, provider, out)
            try:
                for notice in backend.info.notices:
                    say(notice)
                fitted = await fit(spec, loaded, backend)
                for notice in fitted.notices:
                    say(notice)
                planned = plan(spec, chat=backend.info.chat, loaded=fitted.loaded, counted=fitted.counted)
                for notice in backend.info.tool_notices if offers_tools(planned) else ():
                    say(notice)
                if begun is not None:
                    check_same(begun, planned, identity(backend))
                    store = RunStore.resume(out)
                else:
                    sandbox = dict(judging.describe()) if judging is not None else {}
                    manifest = make_manifest(
                        spec, planned, identity(backend), sandbox, identity_of(judge), fitted.too_long
                    )
                    store = RunStore.create(out, manifest)
                with store:
                    line = Pipeline(planned, store, judges, pool, width=_width(spec, judges), watcher=watch(planned))
                    scores = await line.run(backend)
                    ours = any(suite.infra_error_rate for suite in scores.suites.values())
                    troubles = _troubles(store.judgements()) if ours else {}
                    usage = line.tally.total_tokens()
                    price = cost(usage, spec.price_in, spec.price_out)
                    total = usage if price is None else {**usage, "cost": price}
                    store.write_manifest(store.manifest.model_copy(update={"usage": total}))
                    return Finished(out, planned, scores, troubles, spent_line(usage, price), line.spans.line())
            finally:
                await backend.aclose()
    finally:
        for path in absent:
            _remove_if_empty(path)


async def rescore(path: Path, spec: RunSpec, *, say: Say, watch: Watch) -> Finished:
    """Judge a run's stored completions again, with the suites and verifiers of today.

    The old verdicts stay until the new ones are complete.

    Args:
        path: The run's directory.
        spec: Sandbox, workers and judge to judge with.
        say: Takes lines for the user.
        watch: Makes the watcher once the plan is known.

    Raises:
        UserError, PrerequisiteMissing, SandboxUnavailable, SourceMissing, SourceAltered: The run is as it was.
    """
    with RunStore.resume(path) as store:
        begun = store.manifest
        judged_by = spec.judge  # another judge is what judging anew may be for
        spec = merged_spec(begun, spec.model_copy(update={"judge": begun.spec.get("judge")}))
        spec = spec.model_copy(update={"judge": judged_by or spec.judge})
        not_asked = {*begun.too_long, *begun.left_out}
        loaded = [pair for pair in load_suites(spec) if pair[0].full_name not in not_asked]
        require_judge(spec, [suite for suite, _ in loaded])
        planned = _with_stored_keys(plan(spec, chat=bool(begun.model.get("chat", True)), loaded=loaded), store)
        for suite in planned:
            old = next((record.version for record in begun.suites if record.name == suite.name), None)
            if old != suite.suite.version:
                say(f"{suite.name}: answers to version {old} are judged as version {suite.suite.version}")
        async with opened(spec) as judge, Verifiers(_opener(spec, say), judge=judge) as verifiers:
            pool = await _ready(verifiers, loaded) if _needs_sandbox(loaded, asking=False) else None
            line = Pipeline(planned, store, verifiers, pool, width=_width(spec, verifiers), watcher=watch(planned))
            scores, judgements = await line.rescore()
            entry: dict[str, Any] = {
                "at": now(),
                "versions": versions(),
                "sandbox": dict(pool.describe()) if pool is not None else {},
                "judge": redacted(identity_of(judge)),
                "suites": {suite.name: suite.suite.version for suite in planned},
            }
        store.replace_judgements(iter(judgements))
        store.write_manifest(begun.model_copy(update={"rescored": [*begun.rescored, entry]}))
        store.write_scores(scores)
        return Finished(path, planned, scores, _troubles(judgements))


def identity(backend: Backend) -> dict[str, Any]:
    """The manifest's `model`."""
    return {**backend.info.identity, "chat": backend.info.chat}


def with_defaults(spec: RunSpec) -> RunSpec:
    """The spec with model and suites filled in: the defaults, or those of the run that is replayed."""
    if spec.model is not None and spec.model.startswith("replay:"):
        # A replay asks what its run asked, unless told otherwise.
        replayed = RunStore.open(Path(spec.model.removeprefix("replay:"))).manifest.spec
        kept = {name: replayed[name] for name in RunSpec.model_fields if name in replayed}
        for name in ("model", "sandbox", "runtime", "workers", "max_infra_rate", "backend"):
            kept.pop(name, None)
        given = {name: getattr(spec, name) for name in spec.model_fields_set}
        spec = RunSpec.model_validate({**kept, **given})
    return spec.model_copy(update={"model": spec.model or DEFAULT_MODEL, "suites": spec.suites or DEFAULT_SUITES})


def _opener(spec: RunSpec, say: Say) -> Callable[[], Any]:
    async def opened() -> SandboxPool:
        pool = await open_sandbox(spec.sandbox, spec.workers, runtime=spec.runtime)
        if pool.notice:
            say(pool.notice)
        return pool

    return opened


async def _ready(verifiers: Verifiers, loaded: Loaded) -> Any:
    """The sandbox, with the tools of every language that will be judged."""
    try:
        pool = await verifiers.ready()
        await require_languages(pool, (problem.check for _, problems in loaded for problem in problems))
        return pool
    except SandboxUnavailable:
        raise
    except SandboxError as error:
        raise PrerequisiteMissing(f"the sandbox did not start ({error})", "see `mellum-eval sandbox status`") from error


def _needs_sandbox(loaded: Loaded, *, asking: bool) -> bool:
    return any(
        computes_checks(suite)
        or (asking and suite.converses())
        or any(problem.check.kind in NEEDS_SANDBOX for problem in problems)
        for suite, problems in loaded
    )


def _runs_here(loaded: Loaded) -> bool:
    return any(computes_checks(suite) or suite.converses() for suite, _ in loaded)


def _cluster(spec: RunSpec, say: Say) -> ClusterVerifiers:
    from mellum_eval.cluster import ClusterVerifiers

    return ClusterVerifiers(spec.ray or "auto", spec.sandbox, spec.workers, say=say)


async def _backend(spec: RunSpec, provider: str, logs: Path) -> Backend:
    model = spec.model or DEFAULT_MODEL
    if spec.ray is None:
        backend = await open_backend(model, spec.backend, logs=logs)
    else:
        from mellum_eval.cluster.model import ClusterBackend

        backend = await ClusterBackend.open(spec.ray, model, spec.backend, provider=provider)
    if spec.backend.cache is None:
        return backend
    from mellum_eval.backends.cache import CachedBackend

    try:
        return CachedBackend(backend, Path(spec.backend.cache), spec.backend)
    except BaseException:
        await backend.aclose()
        raise


def _width(spec: RunSpec, judges: Judges | JudgesApart) -> int:
    # A worker's arena and judge are busy in turns, and text verifiers need neither: a few answers each keep all fed.
    # Of a cluster, nodes may join later: what they lack places for waits there.
    workers = spec.workers or os.cpu_count() or 1
    return 4 * workers if isinstance(judges, Verifiers) else 4 * workers * CLUSTER_NODES


def _with_stored_keys(planned: list[PlannedSuite], store: RunStore) -> list[PlannedSuite]:
    """The plan under the keys that the run has: prompts may be worded otherwise today, the answers are to those."""
    keys = {(generation.suite, generation.problem): generation.key for generation in store.generations()}
    if not keys:
        raise UserError(f"{store.path} has no completions to judge")
    return [
        PlannedSuite(
            suite.name,
            suite.suite,
            suite.sampling,
            tuple(
                Question(question.problem, question.prompt, keys.get((suite.name, question.problem.id), question.key))
                for question in suite.questions
            ),
        )
        for suite in planned
    ]


def _troubles(judgements: Any) -> dict[str, str]:
    counts: dict[str, dict[str, int]] = {}
    judgement: Judgement
    for judgement in judgements:
        if judgement.score is None:
            of_suite = counts.setdefault(judgement.suite, {})
            of_suite[judgement.message] = of_suite.get(judgement.message, 0) + 1
    return {suite: max(messages, key=messages.__getitem__) for suite, messages in counts.items()}


def _remove_if_empty(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:
        return
