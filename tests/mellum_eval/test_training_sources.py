"""What the suites give to training: their train side and nothing of the other, in every form; and what they ask."""

from __future__ import annotations

from typing import Any

import pytest

from mellum_eval.cli.training_sources import QUICK, REASONING, generators, suite_index
from mellum_model.training.data.decontaminate import Contamination, SuiteIndex
from mellum_model.training.data.generated_text import GENERATORS
from mellum_model.training.recipes import PretrainData, load_recipe
from sandboxes.verifiers import NEEDS_SANDBOX
from sandboxes.verify import Verifiers
from suites import registry
from suites.quick import QuickSuite

FORMS = ("base", "instruct", "thinking")


def records(name: str, form: str, size: int = 1000) -> Any:
    return generators()[name](
        "train", {"form": form, "size": size, "seed": 4, **({} if form == "base" else {"turns_share": 0.3})}
    )


def held_out(name: str, count: int, seed: int) -> list[Any]:
    suite = type(registry.get(name))
    assert issubclass(suite, QuickSuite)
    return suite.instances("held_out", count, seed)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", QUICK)
def test_no_held_out_instance_is_ever_drawn(name: str, form: str) -> None:
    given = records(name, form)
    ids = {instance for record in given for instance in record["instances"]}
    assert len(ids) == 1000 and all("/train/" in instance for instance in ids)
    other = held_out(name, 500, 0) + held_out(name, 300, 5)
    keys = {problem.id.rpartition("-")[2] for problem in other}
    assert not keys & {instance.rpartition("-")[2] for instance in ids}
    asked = {message["content"] for record in given for message in record.get("messages", ())}
    texts = [record.get("text", "") for record in given]
    assert not any(problem.ask in asked for problem in other)
    assert not any(f"User: {problem.ask}\n" in text for problem in other[:100] for text in texts)


def test_the_suites_own_filter_would_catch_one_too() -> None:
    index = SuiteIndex(questions={name: {p.id: p.ask for p in held_out(name, 500, 0)} for name in QUICK})
    contamination = Contamination(index, 13)
    problem = held_out("quick_math", 500, 0)[7]
    assert contamination.found_in({"text": f"So: {problem.ask} Well."}, "text") == "quick_math"
    assert contamination.found_in({"messages": [{"role": "user", "content": problem.ask}]}, "text") == "quick_math"


def test_the_index_names_every_suite(data_dir: object) -> None:
    index = suite_index()
    assert {*index.written, *index.questions, *index.missing} == {entry.name for entry in registry.entries()}
    assert all(len(index.questions[name]) == 500 for name in QUICK)
    generated = [name for name in index.questions if name not in QUICK]
    assert all(len(index.questions[name]) == 300 for name in generated) and "ruler_common_words" in generated


def test_conversations_before_problems_are_of_the_benchmark_too(data_dir: object) -> None:
    asked = suite_index(["bfcl_memory"]).written["bfcl_memory"]
    assert len(asked) == 310 + 74
    assert asked["memory_kv_prereq_0-customer-0"][0].startswith("Hey there! Thanks for getting back to me")


def test_suites_without_data_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("MELLUM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("suites.sources.fetch", _no_network)
    assert "humaneval_plus" in suite_index().missing


def _no_network(source: Any) -> Any:
    from suites.sources import SourceMissing

    raise SourceMissing("no network", "none")


@pytest.mark.parametrize("name", QUICK)
async def test_a_thinking_answer_is_right_and_short(name: str) -> None:
    suite = registry.get(name)
    assert isinstance(suite, QuickSuite)
    problems = type(suite).instances("train", 200, 9)
    verifiers = Verifiers()
    for problem in problems:
        reasoning, answer = REASONING[name](problem)
        assert reasoning.strip() and reasoning != answer
        text = f"<think>\n{reasoning}\n</think>\n\n{answer}"
        if problem.check.kind in NEEDS_SANDBOX:  # the suite's gold is run by `suites validate`
            assert (problem.gold or "").endswith(answer)
        else:
            verdict = await verifiers.verify(problem.check, suite.answer(problem, text))
            assert verdict.passed, (problem.ask, text, verdict.message)


@pytest.mark.parametrize("name", GENERATORS)
def test_generated_text_is_varied_and_the_same_for_its_number(name: str) -> None:
    one, other = (GENERATORS[name]("train", {"seed": seed}) for seed in (0, 1))
    texts = [one[number]["text"] for number in range(500)]
    assert texts == [one[number]["text"] for number in range(500)]
    assert len(set(texts)) > 495 and texts[0] != other[0]["text"]


def test_generated_code_does_what_it_says() -> None:
    code = GENERATORS["code"]("train", {"seed": 3})
    for number in range(300):
        exec(code[number]["text"], {})  # its own assertions hold


def test_generated_sums_are_right() -> None:
    import re

    sums = GENERATORS["sums"]("train", {"seed": 3})
    for number in range(300):
        for line in sums[number]["text"].splitlines():
            parts = [part for part in re.findall(r"[\d+*/() -]+(?:= [\d+*/() -]+)+", line)]
            for part in parts:
                sides = [side.strip() for side in part.split("=") if side.strip()]
                values = {eval(side) for side in sides}  # digits, brackets and signs only
                assert len(values) == 1, line


def test_the_recipes_have_the_reports_curriculum() -> None:
    for name in ("nano", "mellum2_12b"):
        recipe = load_recipe(name)
        data = recipe.stage("pretrain").data
        assert isinstance(data, PretrainData)
        assert [phase.share for phase in data.phases] == pytest.approx([0.580, 0.262, 0.159], abs=2e-3)
        assert [(phase.fim.rate, phase.fim.spm, phase.fim.code_only) for phase in data.phases if phase.fim] == [
            (0.5, 0.5, False),
            (0.1, 0.5, False),
            (0.5, 0.5, True),
        ]
        for phase, wanted in zip(data.phases, ((70, 23, 6), (44, 42, 14), (23, 59, 18)), strict=True):
            weights = phase.mixture
            code = sum(weight for source, weight in weights.items() if data.sources[source].code)
            math = sum(weight for source, weight in weights.items() if source in ("math", "sums", "ask_math"))
            shares = [100 * part / sum(weights.values()) for part in (sum(weights.values()) - code - math, code, math)]
            assert shares == pytest.approx(wanted, abs=1.0), (name, phase.name)
