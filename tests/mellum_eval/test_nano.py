"""The bundled model: what is shipped, that it answers as each form should, and what is said where torch is absent."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mellum_eval.backends.base import Completion, Request
from mellum_eval.backends.registry import check_scheme, open_backend
from mellum_eval.cli.native import provide_native
from mellum_eval.errors import PrerequisiteMissing, UserError
from mellum_eval.spec import BackendOptions
from mellum_model.nano import VARIANTS, checkpoint
from suites import registry

LARGEST = 4_000_000
"""Bytes of the weights of one checkpoint."""


@pytest.fixture(autouse=True)
def provided() -> None:
    provide_native()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_checkpoint_is_whole_small_and_in_bfloat16(variant: str) -> None:
    folder = checkpoint(variant)
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    assert (folder / "model.safetensors").stat().st_size <= LARGEST
    config = json.loads((folder / "config.json").read_text())
    assert config["dtype"] == "bfloat16" and config["num_nextn_predict_layers"] == 1
    assert config["layer_types"] == ["sliding_attention"] * 3 + ["full_attention"]
    assert len(json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]) <= 1024


async def answer(model: str, suite_name: str, count: int) -> list[tuple[Any, str]]:
    backend = await open_backend(model, BackendOptions())
    suite = registry.get(suite_name)
    problems = list(suite.problems())[:count]
    chat = backend.info.chat

    async def given() -> AsyncIterator[Request]:
        for number, problem in enumerate(problems):
            prompt = suite.render(problem, chat=chat)
            yield Request(f"{number}", suite_name, problem.id, 0, prompt, suite.sampling)

    replies = {}
    async for request, reply in backend.generate(given()):
        assert isinstance(reply, Completion)
        replies[request.key] = reply.text
    await backend.aclose()
    return [(problem, replies[f"{number}"]) for number, problem in enumerate(problems)]


async def test_instruct_answers_without_and_thinking_with_reasoning() -> None:
    plain = await answer("nano", "quick_math", 8)
    thoughtful = await answer("nano:thinking", "quick_math", 8)
    assert not any("<think>" in text for _, text in plain)
    assert sum(text.startswith("<think>\n") and "</think>" in text for _, text in thoughtful) >= 7
    assert sum("\\boxed{" in text for _, text in [*plain, *thoughtful]) >= 12


async def test_base_continues_text() -> None:
    backend = await open_backend("nano:base", BackendOptions())
    assert backend.info.name == "nano-base" and not backend.info.chat
    await backend.aclose()


def test_without_torch_the_extra_and_the_way_around_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else real(name))
    with pytest.raises(PrerequisiteMissing, match=r'needs torch; pip install "mellum-eval\[model\]".*run mock:mixed'):
        check_scheme("nano")
    assert check_scheme("mock:mixed") == ("mock", "mixed")


def test_an_unknown_variant_is_named() -> None:
    named = "nano:huge: the bundled models are nano, nano:base, nano:thinking, nano:instruct-sft and nano:thinking-sft"
    with pytest.raises(UserError, match=named):
        check_scheme("nano:huge")
