"""Suites of long prompts meet a model's context: what fits is made to its tokens, what does not is named, never 0."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mellum_eval import launch
from mellum_eval.backends.base import BackendInfo, Completion, Reply, Request
from mellum_eval.backends.mock import MockBackend
from mellum_eval.cli import _run
from mellum_eval.errors import UserError
from mellum_eval.lengths import fit
from mellum_eval.plan import load_suites
from mellum_eval.spec import BackendOptions, RunSpec

SUITES = ("ruler_niah_single_1:4k", "ruler_common_words:8k", "ruler_niah_multikey_3:128k", "quick_safety")


class Counting(MockBackend):
    """Gold answers, a tokenizer that counts words, and a context."""

    def __init__(self, context: int | None) -> None:
        super().__init__("gold", BackendOptions())
        self.counted = 0
        self._context = context

    @property
    def info(self) -> BackendInfo:
        return replace(super().info, context=self._context)

    async def count_tokens(self, text: str) -> int | None:
        self.counted += 1
        return len(text.split())


class Refusing(Counting):
    """Says that no prompt fits, as backends do."""

    async def generate(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        async for request in requests:
            yield request, Completion("", finish="length", tokens={"prompt": 9999})


def spec(**changes: Any) -> RunSpec:
    return RunSpec(**{"model": "mock:gold", "suites": SUITES, "limit": 2, **changes})


async def test_lengths_are_counted_and_what_is_too_long_is_named() -> None:
    backend, asked = Counting(8192), spec()
    loaded = load_suites(asked)
    found = await fit(asked, loaded, backend)
    assert found.too_long == ("ruler_niah_multikey_3:128k",)
    assert found.counted == frozenset(SUITES[:2])
    assert [suite.full_name for suite, _ in found.loaded] == [SUITES[0], SUITES[1], "quick_safety"]
    assert found.notices == (
        "not run, for they do not fit the model's context of 8,192 tokens: ruler_niah_multikey_3:128k (131,072 tokens)",
    )
    for (_, before), (suite, after) in zip(loaded[:2], found.loaded[:2], strict=True):
        assert [problem.id for problem in before] == [problem.id for problem in after]
        assert all(0.9 * (suite.tokens() or 0) < len(p.ask.split()) < (suite.tokens() or 0) for p in after)
    assert backend.counted < 30  # two problems a suite, not fifty


async def test_room_for_reasoning_counts() -> None:
    asked = spec(suites=SUITES[:2], backend=BackendOptions(thinking_budget=4096))
    found = await fit(asked, load_suites(asked), Counting(8192))
    assert found.too_long == ("ruler_common_words:8k",)


async def test_nothing_that_fits_is_bad_usage() -> None:
    asked = spec(suites=SUITES[:1])
    with pytest.raises(UserError, match="no suite fits the model's context of 512 tokens"):
        await fit(asked, load_suites(asked), Counting(512))


async def test_without_a_tokenizer_lengths_are_estimates_and_said_to_be() -> None:
    asked = spec(suites=SUITES[:1])
    loaded = load_suites(asked)
    found = await fit(asked, loaded, MockBackend("gold", BackendOptions()))
    assert (found.loaded, found.counted, found.too_long) == (loaded, frozenset(), ())
    (notice,) = found.notices
    assert "lengths are estimates" in notice and "--context N" in notice


async def ran(backend: MockBackend, out: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> dict[str, Any]:
    async def opened(*given: Any) -> MockBackend:
        return backend

    monkeypatch.setattr(launch, "_backend", opened)
    await launch.run(spec(**changes), out, resume=False, say=lambda line: None, watch=lambda planned: launch.Watcher())
    scores: dict[str, Any] = json.loads((out / "scores.json").read_text("utf-8"))
    return scores


def test_a_run_lists_what_was_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = asyncio.run(ran(Counting(8192), tmp_path / "r", monkeypatch))
    run = json.loads((tmp_path / "r" / "run.json").read_text("utf-8"))
    assert run["too_long"] == ["ruler_niah_multikey_3:128k"] and run["left_out"] == []
    assert set(scores["suites"]) == {SUITES[0], SUITES[1], "quick_safety"} and not scores["partial"]
    by = {record["name"]: (record["tokens"], record["tokens_by"]) for record in run["suites"]}
    assert by == {SUITES[0]: (4096, "tokenizer"), SUITES[1]: (8192, "tokenizer"), "quick_safety": (None, "")}
    assert _run(["report", str(tmp_path / "r"), "--out", str(tmp_path / "out")]) == 0
    assert "for they do not fit" in (tmp_path / "out" / "report.md").read_text("utf-8")
    before = (tmp_path / "r" / "scores.json").read_bytes()
    assert _run(["rescore", str(tmp_path / "r")]) == 0
    assert (tmp_path / "r" / "scores.json").read_bytes() == before
    monkeypatch.undo()
    assert _run(["run", f"replay:{tmp_path / 'r'}", "--out", str(tmp_path / "again")]) == 2
    assert "mellum-eval rescore" in capsys.readouterr().err and not (tmp_path / "again").exists()


async def test_a_prompt_that_the_model_never_read_is_not_a_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mellum_eval.pipeline.INFRA_PAUSE_S", 0.0)
    suites = (*SUITES[:1], "quick_safety")
    scores = (await ran(Refusing(None), tmp_path / "r", monkeypatch, suites=suites))["suites"]
    assert scores[SUITES[0]]["outcomes"] == {"infra_error": 2} and scores[SUITES[0]]["metrics"] == {}
    assert "infra_error" not in scores["quick_safety"]["outcomes"]
    assert "longer than the model's context" in (tmp_path / "r" / "verdicts.jsonl").read_text("utf-8")


def test_an_endpoint_s_context_can_be_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mellum_eval.backends.openai import OpenAIBackend

    backend = OpenAIBackend("m", "http://127.0.0.1:1/v1", BackendOptions(context=4096))
    assert backend.info.context == 4096
    assert _run(["run", "mock:gold", "-s", SUITES[0], "--context", "0", "--out", str(tmp_path / "r")]) == 2
    assert "--context" in capsys.readouterr().err
