"""The harness alone: samples a second, and its memory while they go by, on a generated suite of choices.

    python -m tests.benchmarks.million_samples                    # a million samples; some minutes
    python -m tests.benchmarks.million_samples --samples 20000    # the short form

The model is `mock:gold` and nothing is run in a sandbox, so what is measured is planning, asking, storing, judging and
scoring. Exit code 1 unless every sample was judged and, from the first tenth to the end, memory grew by less than
GROWTH_MB, a fraction of what keeping either record of each sample would take even in the short form. The rate is for
reading; compare it with another only from the same machine and hour.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mellum_eval.backends.mock import MockBackend
from mellum_eval.pipeline import Pipeline, Watcher
from mellum_eval.plan import PlannedSuite, Question, plan
from mellum_eval.records import Judgement, Manifest
from mellum_eval.spec import BackendOptions, RunSpec
from mellum_eval.store import RunStore
from sandboxes.check import ChoiceCheck
from sandboxes.verify import Verifiers
from suites.problem import Problem
from suites.suite import Suite

GROWTH_MB = 8.0
PROBLEMS = 20_000


class Choices(Suite):
    """Questions of four choices; gold is a letter."""

    name = "choices"
    category = "knowledge"
    version = "1"
    summary = "generated questions of four choices"

    def __init__(self, count: int) -> None:
        super().__init__(None)
        self._count = count

    def problems(self) -> Sequence[Problem]:
        """As many as were asked for."""
        return [
            Problem(
                f"q{n}",
                f"Question {n}?\nA. one\nB. two\nC. three\nD. four",
                ChoiceCheck(kind="choice", answer="ABCD"[n % 4], choices=4),
                f"The answer is {'ABCD'[n % 4]}.",
            )
            for n in range(self._count)
        ]


def resident_mb() -> float:
    """Memory of this process that is in RAM."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


class Looks(Watcher):
    """Memory at every tenth."""

    def __init__(self, total: int) -> None:
        self.judged_so_far = 0
        self.looks: list[float] = []
        self._every = max(1, total // 10)

    def judged(self, suite: str, judgement: Judgement) -> None:
        """Count, and look now and then."""
        self.judged_so_far += 1
        if self.judged_so_far % self._every == 0:
            self.looks.append(resident_mb())


async def measure(samples: int, directory: Path) -> tuple[float, Looks, dict[str, int]]:
    """Seconds, memory and outcomes of a run of so many samples."""
    suite = Choices(min(PROBLEMS, samples))
    each = max(1, samples // PROBLEMS)
    spec = RunSpec(model="mock:gold", suites=("choices",), samples=each, temperature=(1.0,))
    planned: list[PlannedSuite] = plan(spec, chat=True, loaded=[(suite, list(suite.problems()))])
    assert isinstance(planned[0].questions[0], Question)
    looks = Looks(sum(len(one.questions) * one.sampling.samples for one in planned))
    manifest = Manifest(
        created="now", command=[], spec={}, model={}, suites=[], seeds={}, sandbox={}, versions={}, host={}
    )
    start = time.perf_counter()
    with RunStore.create(directory / "run", manifest) as store:
        async with Verifiers() as verifiers:
            line = Pipeline(planned, store, verifiers, None, width=8, watcher=looks)
            scores = await line.run(MockBackend("gold", BackendOptions(concurrency=64)))
    return time.perf_counter() - start, looks, scores.suites["choices"].outcomes


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        if options.profile:
            import cProfile
            import pstats

            profile = cProfile.Profile()
            profile.enable()
        start = time.process_time()
        seconds, looks, outcomes = asyncio.run(measure(options.samples, Path(directory)))
        cpu = time.process_time() - start
        if options.profile:
            profile.disable()
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    judged = sum(outcomes.values())
    growth = looks.looks[-1] - looks.looks[0]
    print(
        f"{judged} samples in {seconds:.1f} s wall, {cpu:.1f} s CPU: {judged / seconds:.0f}/s, {judged / cpu:.0f}/CPU s"
    )
    print(f"memory at each tenth, MB: {' '.join(f'{mb:.0f}' for mb in looks.looks)}; growth {growth:.1f}")
    return 0 if outcomes == {"passed": judged} and judged == looks.judged_so_far and growth < GROWTH_MB else 1


if __name__ == "__main__":
    sys.exit(main())
