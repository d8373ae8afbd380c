"""BFCL's vector memory: what is found by meaning, what a prompt shows, and what it is not asked without."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mellum_eval.cli import _run
from sandboxes.errors import SandboxError
from suites import registry
from suites.catalogue import GROUPS
from suites.conversation import GoOn, ModelTurn, Over
from suites.playing import final_answer
from suites.problem import Problem
from suites.sources import SourceMissing
from suites.tools import sentence_encoder
from suites.tools.bfcl_memory import OverVectors
from suites.tools.sentence_encoder import embed

NAME = "bfcl_memory:vector"


async def said(problem: Problem, name: str, **arguments: Any) -> tuple[str, OverVectors]:
    talk = registry.get(NAME).converse(problem, None)
    assert isinstance(talk, OverVectors)
    step = await talk.step(ModelTurn("", [{"name": name, "arguments": arguments}]))
    assert isinstance(step, GoOn)
    return step.messages[0].content, talk


async def left(talk: OverVectors) -> Any:
    step = await talk.step(ModelTurn("I see."))
    while isinstance(step, GoOn):
        step = await talk.step(ModelTurn("I see."))
    return step.answer


@pytest.mark.usefixtures("data_dir", "bfcl_wheel")
async def test_gold_needs_no_encoder() -> None:
    suite = registry.get(NAME)
    found, before = suite.problems(), {problem.id: problem for problem in suite.prerequisites()}
    assert (len(found), len(before)) == (155, 37)
    assert {problem.metadata["category"] for problem in found} == {"memory_vector"}
    assert all(problem.follows in before for problem in found)
    assert await final_answer(suite, found[0], found[0].gold or "", None) == found[0].gold


@pytest.mark.usefixtures("encoder")
async def test_what_was_kept_is_found_later_and_only_there() -> None:
    suite = registry.get(NAME)
    first, second = suite.prerequisites()[:2]
    assert (await said(first, "archival_memory_add", text="I live in Seattle."))[0] == '{"id": 0}'
    kept, talk = await said(first, "core_memory_add", text="My name is Michael.")
    assert kept == '{"id": 0}'
    before = json.loads(json.dumps(await left(talk)))
    assert before[0]["memory"] == '{\n    "0": "My name is Michael."\n}'
    assert before[0]["memory"] in suite.render(second.after(before), chat=True).messages[0].content
    asked = suite.problems()[0].after(before)
    found = json.loads((await said(asked, "core_memory_retrieve", query="My name is Michael."))[0])["result"]
    assert [(one["id"], one["text"]) for one in found] == [(0, "My name is Michael.")]
    assert found[0]["similarity_score"] == pytest.approx(1)
    # What a question changes, no other one sees; and each conversation has a memory of its own.
    await said(asked, "core_memory_clear")
    assert "Michael" in (await said(asked, "core_memory_retrieve_all"))[0]
    assert (await said(asked, "archival_memory_retrieve_all"))[0] == '{"result": []}'


@pytest.mark.usefixtures("encoder")
async def test_a_question_ends_with_the_last_text() -> None:
    _, talk = await said(registry.get(NAME).problems()[0], "core_memory_add", text="x")
    assert await left(talk) == "I see."
    step = await talk.step(ModelTurn("Michael."))
    assert isinstance(step, Over)


@pytest.mark.usefixtures("encoder")
def test_texts_of_one_length_are_normalised_rows() -> None:
    made = embed(["one text", "two more"])
    assert made.shape == (2, 32)
    assert made.dtype == np.float32
    assert np.linalg.norm(made, axis=1) == pytest.approx([1, 1])


@pytest.mark.usefixtures("data_dir", "bfcl_wheel")
@pytest.mark.parametrize("text", [{"image": "http://127.0.0.1/x.png"}, {"text": "x"}, 5, ["a"], "\ud800"])
async def test_nothing_but_text_reaches_the_library(text: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        def encode(self, texts: list[Any], **options: Any) -> Any:
            assert texts == [""]  # how wide vectors are
            return np.zeros((1, 3))

    monkeypatch.setattr(sentence_encoder, "_encoder", Library)
    with pytest.raises((ValueError, TypeError)):
        embed(["fine", text])


@pytest.mark.usefixtures("data_dir", "bfcl_wheel")
async def test_an_encoder_that_does_not_work_is_nobody_s_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise OSError("no such weights")

    monkeypatch.setattr(sentence_encoder, "_encoder", broken)
    with pytest.raises(SandboxError, match="no such weights"):
        await said(registry.get(NAME).problems()[0], "core_memory_add", text="x")


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bfcl_wheel: Path) -> Path:
    """The libraries, and no encoder."""
    data = tmp_path / "cache" / "mellum-eval" / "data"
    data.mkdir(parents=True)
    (data / "bfcl_eval").symlink_to(bfcl_wheel.parent)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    real = importlib.util.find_spec
    named = {"sentence_transformers": "json", "faiss": "json"}  # whatever is there
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: real(named.get(name, name), *more))
    return tmp_path


@pytest.mark.usefixtures("data_dir")
def test_without_libraries_or_files_it_is_not_asked(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceMissing, match="run `mellum-eval data fetch all-MiniLM-L6-v2` to get it from hf-model:"):
        registry.get(NAME).require()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SourceMissing, match=r"pip install \"mellum-eval\[memory\]\""):
        registry.get(NAME).require()
    registry.get("bfcl_memory").require()


@pytest.mark.usefixtures("data_dir")
def test_named_it_ends_with_3_and_a_group_goes_on_without_it(
    bare: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(["run", "mock:gold", "-s", NAME, "--limit", "2", "--out", str(bare / "r")]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "all-MiniLM-L6-v2/1_Pooling/config.json is neither in MELLUM_DATA_DIR=" in line
    assert not (bare / "r").exists()
    assert _run(["suites", "validate", NAME]) == 3
    assert "mellum-eval data fetch all-MiniLM-L6-v2" in capsys.readouterr().err
    monkeypatch.setitem(GROUPS, "two", ("bfcl:irrelevance", NAME))
    assert _run(["run", "mock:gold", "-s", "two", "--limit", "2", "--out", str(bare / "r")]) == 0
    assert f"{NAME} is left out: what it needs is not at hand" in capsys.readouterr().err
