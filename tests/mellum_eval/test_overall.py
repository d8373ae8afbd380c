"""Scores over several suites: the published formulas, on numbers worked out by hand, and what was not run."""

from __future__ import annotations

import pytest

from mellum_eval.overall import overall_scores
from mellum_eval.plan import PlannedSuite
from suites import registry
from suites.overall import OVERALLS
from suites.sampling import Sampling

SINGLE = {
    **{"simple_python": 0.9, "simple_java": 0.6, "simple_javascript": 0.3, "multiple": 0.8, "parallel": 0.7},
    **{"parallel_multiple": 0.5, "irrelevance": 0.4},
    **{"live_simple": 1.0, "live_multiple": 0.5, "live_parallel": 0.0, "live_parallel_multiple": 0.25},
    **{"live_irrelevance": 0.5, "live_relevance": 1.0},
}
TURNS = {f"multi_turn_{kind}": value for kind, value in (("base", 0.4), ("miss_func", 0.3))} | {
    f"multi_turn_{kind}": value for kind, value in (("miss_param", 0.2), ("long_context", 0.1))
}
AGENTIC = {"web_search_base": 0.2, "web_search_no_snippet": 0.0}
AGENTIC |= {"memory_kv": 0.3, "memory_vector": 0.2, "memory_rec_sum": 0.1}


def planned(name: str, suffix: str = "") -> PlannedSuite:
    return PlannedSuite(name + suffix, registry.get(name), Sampling(), ())


def owner(category: str) -> str:
    return {"multi": "bfcl_multi_turn", "memory": "bfcl_memory", "web": "bfcl_web_search"}.get(
        category.partition("_")[0], "bfcl"
    )


PARTS = ("bfcl", "bfcl_multi_turn", "bfcl_web_search", "bfcl_memory")


def scored(values: dict[str, float], suites: tuple[str, ...] = PARTS, suffix: str = "") -> dict:
    """Twenty problems a category, of which the right share is solved."""

    def rows(suite: PlannedSuite) -> list[tuple[str, str | None, float]]:
        mine = {c: v for c, v in values.items() if owner(c) == suite.suite.name}
        return [(c, None, float(n < round(20 * v))) for c, v in mine.items() for n in range(20)]

    return overall_scores([planned(name, suffix) for name in suites], rows)


def test_weights_add_up() -> None:
    for overall in OVERALLS.values():
        assert sum(overall.weights.values()) == pytest.approx(1)


def test_v3_is_the_mean_of_three() -> None:
    found = scored({**SINGLE, **TURNS})
    non_live = ((0.9 + 0.6 + 0.3) / 3 + 0.8 + 0.7 + 0.5) / 4
    with_irrelevance = (0.6 + 0.8 + 0.7 + 0.5 + 0.4) / 5
    live = (258 * 1.0 + 1053 * 0.5 + 24 * 0.25) / (258 + 1053 + 16 + 24)
    live_all = (258 * 1.0 + 1053 * 0.5 + 24 * 0.25 + 884 * 0.5 + 16 * 1.0) / (258 + 1053 + 16 + 24 + 884 + 16)
    assert found["bfcl_non_live"].value == pytest.approx(non_live)
    assert found["bfcl_live"].value == pytest.approx(live)
    assert found["bfcl_multi_turn"].value == pytest.approx(0.25)
    assert found["bfcl_v3"].value == pytest.approx((with_irrelevance + live_all + 0.25) / 3)
    low, high = found["bfcl_v3"].ci95
    assert low < found["bfcl_v3"].value < high
    assert found["bfcl_v4"].value is None
    assert set(found["bfcl_v4"].missing) == set(AGENTIC)


def test_v4_weighs_agentic_tasks_most() -> None:
    found = scored({**SINGLE, **TURNS, **AGENTIC})
    irrelevance, agentic = (0.4 + 0.5) / 2, (0.1 + 0.2) / 2
    live, non_live = found["bfcl_live"].value, found["bfcl_non_live"].value
    expected = 0.1 * non_live + 0.1 * live + 0.1 * irrelevance + 0.3 * 0.25 + 0.4 * agentic
    assert found["bfcl_v4"].value == pytest.approx(expected)
    assert found["bfcl_v4_report"].value == pytest.approx((non_live + live + 0.25 + 0.1 + 0.2) / 5)


@pytest.mark.usefixtures("data_dir", "bfcl_wheel", "bm25_wheel")
def test_v4_s_group_asks_all_that_its_score_is_made_of() -> None:
    asked = [registry.get(name) for name in registry.expand(["bfcl_v4"])]
    owners = {problem.metadata["category"]: suite.full_name for suite in asked for problem in suite.problems()}
    assert set(OVERALLS["bfcl_v4"].weights) | set(OVERALLS["bfcl_v4_report"].weights) <= set(owners)
    values = {category: 0.25 for category in owners}

    def rows(suite: PlannedSuite) -> list[tuple[str, str | None, float]]:
        mine = [category for category, owner in owners.items() if owner == suite.name]
        return [(category, None, float(n < 20 * values[category])) for category in mine for n in range(20)]

    planned_suites = [PlannedSuite(suite.full_name, suite, Sampling(), ()) for suite in asked]
    assert overall_scores(planned_suites, rows)["bfcl_v4"].value == pytest.approx(0.25)
    values["memory_vector"] = 1.0
    assert overall_scores(planned_suites, rows)["bfcl_v4"].value == pytest.approx(0.25 + 0.75 * 0.4 / 2 / 3)


def test_a_kind_of_memory_that_was_not_run_is_named() -> None:
    found = scored({**SINGLE, **TURNS, "memory_kv": 0.3, "memory_rec_sum": 0.1})
    assert found["bfcl_memory"].value is None
    assert found["bfcl_memory"].missing == ["memory_vector"]
    assert set(found["bfcl_v4"].missing) == {"memory_vector", "web_search_base", "web_search_no_snippet"}
    assert set(found["bfcl_v4_report"].missing) == set(found["bfcl_v4"].missing)
    assert found["bfcl_v3"].value is not None


def test_what_was_not_run_is_named_and_a_small_run_has_no_overall_score() -> None:
    without_java = {name: value for name, value in SINGLE.items() if name != "simple_java"}
    found = scored(without_java, ("bfcl",), "@t0.5")
    assert found["bfcl_non_live@t0.5"].missing == ["simple_java"]
    assert found["bfcl_non_live@t0.5"].value is None
    assert "bfcl_multi_turn@t0.5" not in found
    assert scored({"simple_python": 1.0}, ("bfcl",)) == {}
    assert overall_scores([planned("gsm8k")], lambda suite: []) == {}
