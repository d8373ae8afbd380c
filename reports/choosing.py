"""Which answers of a run are shown: the ones that failed first, each cause once, then some that passed.

The choice is by key, which is a hash, so it is the same however often the report is made, and no one's pick.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from mellum_eval.records import Judgement
from mellum_eval.store import Slot

NOT_PASSED = 8
"""One of each way not to pass, where there are that many."""
PASSED = 2


class Choice:
    """Picks a few verdicts of each suite from all that it is shown, in bounded memory."""

    def __init__(self) -> None:
        self._best: dict[str, dict[str, list[tuple[str, Judgement]]]] = {}

    def add(self, judgement: Judgement) -> None:
        """Consider a verdict."""
        of_outcome = self._best.setdefault(judgement.suite, {}).setdefault(judgement.outcome, [])
        order = f"{judgement.key}:{judgement.sample}"
        if len(of_outcome) >= NOT_PASSED and order >= of_outcome[NOT_PASSED - 1][0]:
            return
        of_outcome.append((order, judgement))
        of_outcome.sort(key=lambda item: item[0])
        del of_outcome[NOT_PASSED:]

    def made(self, suites: Collection[str]) -> dict[Slot, tuple[int, Judgement]]:
        """Slot → rank within its suite, and the verdict; at most NOT_PASSED and PASSED a suite."""
        chosen: dict[Slot, tuple[int, Judgement]] = {}
        for suite, outcomes in self._best.items():
            if suite in suites:
                for rank, judgement in enumerate(_first_of_suite(outcomes)):
                    chosen[judgement.key, judgement.sample] = (rank, judgement)
        return chosen


def _first_of_suite(outcomes: Mapping[str, list[tuple[str, Judgement]]]) -> list[Judgement]:
    ordered = {name: [judgement for _, judgement in found] for name, found in outcomes.items()}
    passed = ordered.pop("passed", [])[:PASSED]
    failed: list[Judgement] = []
    depth = 0
    while len(failed) < NOT_PASSED and any(len(found) > depth for found in ordered.values()):
        for name in sorted(ordered):
            if len(ordered[name]) > depth and len(failed) < NOT_PASSED:
                failed.append(ordered[name][depth])
        depth += 1
    return failed[:2] + passed[:1] + failed[2:] + passed[1:]
