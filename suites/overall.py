"""Scores over several suites: which categories they are made of, and with which weights.

A benchmark that publishes one number for many categories (BFCL) does not take the mean over all its problems: it takes
means of means. Each overall score here is a weighted sum of its categories' means; the weights add up to 1 and follow
from the published formula. A category is what problems carry as `category` in their metadata, whichever suite or
variant of a suite asked them. What was not run is named, and never counts as 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from suites.catalogue import RULER_LENGTHS, RULER_TASKS


@dataclass(frozen=True, slots=True)
class Overall:
    """One score over categories.

    Attributes:
        suites: Names of the suites whose problems carry the categories.
        weights: Category → weight; they add up to 1.
    """

    suites: tuple[str, ...]
    weights: Mapping[str, float]


Weights = dict[str, float]


def _mean(*parts: Weights) -> Weights:
    """The unweighted mean of parts."""
    return _sum(*((1 / len(parts), part) for part in parts))


def _sum(*parts: tuple[float, Weights]) -> Weights:
    total: Weights = {}
    for weight, part in parts:
        for name, share in part.items():
            total[name] = total.get(name, 0.0) + weight * share
    return total


def _pooled(**counts: int) -> Weights:
    """The mean over all problems of categories with these numbers of problems."""
    return {name: count / sum(counts.values()) for name, count in counts.items()}


def _each(*names: str) -> Weights:
    return _mean(*({name: 1.0} for name in names))


_SIMPLE = _each("simple_python", "simple_java", "simple_javascript")
_NON_LIVE = _mean(_SIMPLE, _each("multiple"), _each("parallel"), _each("parallel_multiple"))
_LIVE = _pooled(live_simple=258, live_multiple=1053, live_parallel=16, live_parallel_multiple=24)
_MULTI_TURN = _each(*(f"multi_turn_{kind}" for kind in ("base", "miss_func", "miss_param", "long_context")))
_IRRELEVANCE = _each("irrelevance", "live_irrelevance")
_WEB_SEARCH = _each("web_search_base", "web_search_no_snippet")
_MEMORY = _each("memory_kv", "memory_vector", "memory_rec_sum")

_BFCL = ("bfcl", "bfcl_multi_turn", "bfcl_web_search", "bfcl_memory")
OVERALLS: dict[str, Overall] = {
    "bfcl_non_live": Overall(_BFCL, _NON_LIVE),
    "bfcl_live": Overall(_BFCL, _LIVE),
    "bfcl_multi_turn": Overall(_BFCL, _MULTI_TURN),
    "bfcl_web_search": Overall(_BFCL, _WEB_SEARCH),
    "bfcl_memory": Overall(_BFCL, _MEMORY),
    # v3: the mean of non-live, live and multi-turn, the first two with their irrelevance and relevance tasks.
    "bfcl_v3": Overall(
        _BFCL,
        _mean(
            _mean(_SIMPLE, _each("multiple"), _each("parallel"), _each("parallel_multiple"), _each("irrelevance")),
            _pooled(
                live_simple=258,
                live_multiple=1053,
                live_parallel=16,
                live_parallel_multiple=24,
                live_irrelevance=884,
                live_relevance=16,
            ),
            _MULTI_TURN,
        ),
    ),
    # v4, as bfcl-eval 2026.3.23 weighs it: 10 % non-live, 10 % live, 10 % irrelevance, 30 % multi-turn, 40 % agentic.
    "bfcl_v4": Overall(
        _BFCL,
        _sum(
            (0.1, _NON_LIVE),
            (0.1, _LIVE),
            (0.1, _IRRELEVANCE),
            (0.3, _MULTI_TURN),
            (0.4, _mean(_WEB_SEARCH, _MEMORY)),
        ),
    ),
    # The Mellum 2 report's: the mean of v1 (non-live), v2 (live), v3 (multi-turn), web search and memory.
    "bfcl_v4_report": Overall(_BFCL, _mean(_NON_LIVE, _LIVE, _MULTI_TURN, _WEB_SEARCH, _MEMORY)),
    # RULER's score at a length, of the 11 of its 13 tasks that are made here: its two of questions want others' data.
    **{
        f"ruler_{length}": Overall(
            tuple(f"ruler_{task}" for task in RULER_TASKS), _each(*(f"{task}_{length}" for task in RULER_TASKS))
        )
        for length in RULER_LENGTHS
    },
}
"""By name; the formulas are those of the benchmarks, in their order of publication."""
